//! Disks that are full, read-only, frozen or gone. Those that must be mounted need the rights to.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::agent::{Agent, PLATE, Workshop};
use crate::{PART, id, until};

/// A disk mounted where the store of a workshop is; unmounted when it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// A small disk in memory. Nothing where this user may not mount.
    fn small(workshop: &Workshop) -> Option<Self> {
        let place = workshop.home.path().join("store");
        std::fs::create_dir_all(&place).unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", "size=3m", "tmpfs", place.to_str().unwrap()]);
        if !mounted {
            eprintln!("not tested: this user may not mount a disk");
        }
        mounted.then_some(Self(place))
    }

    fn remount(&self, how: &str) {
        assert!(run("mount", &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()]));
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        // Ends with the error that the disk is full.
        let _ = std::fs::write(&path, vec![0; 8 << 20]);
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn submit(agent: &Agent) -> crate::agent::Answer {
    agent.ask("POST", "/api/v1/machines/mill/jobs", "", PART)
}

/// Status and stop work, and new work is refused with the reason.
fn serves_without(agent: &Agent, code: &str) {
    until("new work is refused", || submit(agent).status != 201);
    let refused = submit(agent);
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");
    assert_eq!(refused.code(), code, "{refused:?}");
    assert!(agent.get("/api/v1/machines/mill")["state"].is_string());
    assert!(agent.get("/api/v1/jobs")["jobs"].is_array());
    let health = agent.ask("GET", "/healthz", "", b"");
    assert_eq!((health.status, &health.json()["ok"]), (503, &Value::Bool(false)), "{health:?}");
    assert_eq!(agent.act("machines", "mill", "stop").status, 200);
    assert_eq!(agent.act("machines", "mill", "clear").status, 200);
}

fn recovers(agent: &Agent) {
    until("new work is taken again", || submit(agent).status == 201);
    until("it is well", || agent.ask("GET", "/healthz", "", b"").status == 200);
}

#[test]
fn on_a_full_disk_a_finished_job_was_queued_again_and_ran_twice() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 20.0)]);
    let Some(disk) = Mounted::small(&workshop) else { return };
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    agent.until(&format!("/api/v1/jobs/{}", id(&job)), |job| job["progress"]["executed"].as_u64() > Some(5));
    let filler = disk.fill();
    let over = agent.job_is(&job, "finished");
    let executed = workshop.report("mill").executed;
    assert_eq!(over["progress"]["executed"].as_u64(), Some(executed));
    drop(agent);
    // Whatever the disk took of it: it is not queued, and nothing runs.
    let agent = workshop.start();
    let state = agent.ask("GET", &format!("/api/v1/jobs/{}", id(&job)), "", b"");
    assert!(
        state.status != 200 || ["finished", "failed"].iter().any(|word| state.json()["state"] == *word),
        "{state:?}"
    );
    std::fs::remove_file(filler).unwrap();
    recovers(&agent);
    assert_eq!(workshop.report("mill").executed, executed);
    let job = agent.get(&format!("/api/v1/jobs/{}", id(&job)));
    assert!(["finished", "failed"].iter().any(|word| job["state"] == *word), "{job:#}");
}

#[test]
fn with_a_read_only_disk_the_agent_starts_shows_and_stops_its_machines_and_recovers() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let Some(disk) = Mounted::small(&workshop) else { return };
    let agent = workshop.start();
    let waiting = agent.submit("mill", PART);
    drop(agent);
    disk.remount("ro");
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    serves_without(&agent, "store.read_only");
    disk.remount("rw");
    recovers(&agent);
    agent.job_is(&waiting, "queued");
}

#[test]
fn a_store_that_vanishes_is_made_again_from_what_is_known() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let waiting = agent.submit("mill", PART);
    let store = workshop.home.path().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    until("new work is taken again", || submit(&agent).status == 201);
    until("it is written", || Path::new(&store.join("store.db")).exists());
    drop(agent);
    let agent = workshop.start();
    let known = agent.get("/api/v1/jobs");
    assert!(known["jobs"].as_array().unwrap().iter().any(|job| job["id"] == waiting["id"]), "{known:#}");
}

#[test]
fn a_stop_got_no_answer_on_a_frozen_disk_and_a_start_that_was_given_up_moved_the_machine_later() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let Some(disk) = Frozen::prepared(&workshop) else { return };
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PART);
    disk.freeze();
    let started = agent.act("jobs", id(&job), "start");
    let asked = std::time::Instant::now();
    let stopped = agent.act("machines", "mill", "stop");
    let took = asked.elapsed();
    let refused = submit(&agent);
    disk.thaw();
    assert_eq!((started.status, started.code().as_str()), (503, "store.slow"), "{started:?}");
    assert_eq!(stopped.status, 200);
    assert!(took < std::time::Duration::from_millis(500), "{took:?}");
    assert_eq!(refused.code(), "store.slow", "{refused:?}");
    recovers(&agent);
    assert_eq!(agent.get(&format!("/api/v1/jobs/{}", id(&job)))["state"], "queued");
    assert_eq!(workshop.report("mill").executed, 0, "the start was void");
}

/// A disk of its own in a file, which can be frozen.
struct Frozen {
    place: PathBuf,
}

impl Frozen {
    /// Nothing where this user may not, or the system has no such disks.
    fn prepared(workshop: &Workshop) -> Option<Self> {
        let (image, place) = (workshop.home.path().join("image"), workshop.home.path().join("store"));
        std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        std::fs::create_dir_all(&place).unwrap();
        let (from, to) = (image.to_str().unwrap(), place.to_str().unwrap());
        let ready = run("mkfs.ext4", &["-q", "-F", from]) && run("mount", &["-o", "loop", from, to]);
        if !ready {
            eprintln!("not tested: this user may not mount a disk in a file");
        }
        ready.then_some(Self { place })
    }

    fn freeze(&self) {
        assert!(run("fsfreeze", &["-f", self.place.to_str().unwrap()]));
    }

    fn thaw(&self) {
        run("fsfreeze", &["-u", self.place.to_str().unwrap()]);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        run("umount", &["-l", self.place.to_str().unwrap()]);
    }
}
