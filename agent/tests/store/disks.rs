//! Disks that are full, read-only, frozen or gone: real ones where this user may mount them, and otherwise the same by what
//! every user may do. Where neither is to be had the test fails, and says what is missing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::agent::{Agent, PLATE, Workshop};
use crate::{PART, id, until};

/// Has the tests do without rights, as if another user ran them.
const WITHOUT_RIGHTS: &str = "FAB_AGENT_TEST_WITHOUT_RIGHTS";

fn may_have_rights() -> bool {
    std::env::var_os(WITHOUT_RIGHTS).is_none()
}

/// A small disk in memory, mounted where the store of a workshop is; gone when it is dropped.
struct Mounted {
    place: PathBuf,
    /// Who keeps the namespace in which it is mounted, where this user may mount nothing outside of one.
    keeper: Option<Child>,
}

impl Mounted {
    fn small(workshop: &mut Workshop) -> Self {
        let place = workshop.home.path().join("store");
        std::fs::create_dir_all(&place).unwrap();
        let path = place.to_str().unwrap();
        if may_have_rights() && run("mount", &["-t", "tmpfs", "-o", "size=3m", "tmpfs", path]) {
            return Self { place, keeper: None };
        }
        let mount = "mount -t tmpfs -o size=3m tmpfs \"$0\" && echo mounted && exec sleep infinity";
        let mut keeper = Command::new("unshare")
            .args(["-U", "-r", "-m", "sh", "-c", mount, path])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is needed for this test: apt-get install util-linux");
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(
            said, "mounted\n",
            "this test needs a disk of its own: run it as root that may mount (in a container with CAP_SYS_ADMIN), or \
             allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
             kernel.apparmor_restrict_unprivileged_userns=0)"
        );
        let disk = Self { place, keeper: Some(keeper) };
        workshop.through(&disk.inside().iter().map(String::as_str).collect::<Vec<_>>());
        disk
    }

    /// What is said in front of a command so that it sees the disk.
    fn inside(&self) -> Vec<String> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let target = keeper.id().to_string();
        ["nsenter", "--preserve-credentials", "-U", "-m", "-t", &target].map(str::to_owned).to_vec()
    }

    fn sees(&self, command: &[&str]) -> bool {
        let words: Vec<_> = self.inside().into_iter().chain(command.iter().map(|word| (*word).to_owned())).collect();
        let arguments: Vec<_> = words[1..].iter().map(String::as_str).collect();
        run(&words[0], &arguments)
    }

    fn remount(&self, how: &str) {
        // With the disk named, what it was mounted with is not given again: not all of it may be.
        let how = format!("remount,{how}");
        assert!(self.sees(&["mount", "-t", "tmpfs", "-o", &how, "tmpfs", self.place.to_str().unwrap()]));
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        // Ends with the error that the disk is full.
        assert!(!self.sees(&["dd", "if=/dev/zero", "bs=64k", &format!("of={}", self.filler())]));
    }

    fn clear(&self) {
        assert!(self.sees(&["rm", &self.filler()]));
    }

    fn filler(&self) -> String {
        self.place.join("filler").to_str().unwrap().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        match &mut self.keeper {
            None => drop(run("umount", &["-l", self.place.to_str().unwrap()])),
            Some(keeper) => {
                let _ = keeper.kill();
                let _ = keeper.wait();
            }
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
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
    let mut workshop = Workshop::on_tcp(&[("mill", "grbl-router-6040", 20.0)]);
    let disk = Mounted::small(&mut workshop);
    let agent = workshop.start();
    let job = agent.start("mill", PLATE);
    agent.until(&format!("/api/v1/jobs/{}", id(&job)), |job| job["progress"]["executed"].as_u64() > Some(5));
    disk.fill();
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
    disk.clear();
    recovers(&agent);
    assert_eq!(workshop.report("mill").executed, executed);
    let job = agent.get(&format!("/api/v1/jobs/{}", id(&job)));
    assert!(["finished", "failed"].iter().any(|word| job["state"] == *word), "{job:#}");
}

#[test]
fn with_a_read_only_disk_the_agent_starts_shows_and_stops_its_machines_and_recovers() {
    let mut workshop = Workshop::on_tcp(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let disk = Mounted::small(&mut workshop);
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
    let mut disk = Frozen::prepared(&workshop);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PART);
    disk.freeze(&agent);
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

#[test]
fn a_start_whose_client_gave_up_moved_the_machine_when_the_disk_answered_again() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let mut disk = Frozen::prepared(&workshop);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let job = agent.submit("mill", PART);
    disk.freeze(&agent);
    let mut client = TcpStream::connect(&agent.host).unwrap();
    let start = format!("POST /api/v1/jobs/{}/start HTTP/1.1\r\nHost: {}\r\n\r\n", id(&job), agent.host);
    client.write_all(start.as_bytes()).unwrap();
    // It was read when what came behind it is answered.
    agent.get("/api/v1/machines/mill");
    drop(client);
    agent.get("/api/v1/machines/mill");
    disk.thaw();
    recovers(&agent);
    // Long before a start is too old to be carried out.
    until("it is told", || {
        let log = agent.get("/api/v1/log?class=person&limit=500");
        log["rows"].as_array().unwrap().iter().any(|row| row["type"] == "start_void" && row["job"] == job["id"])
    });
    assert_eq!(agent.get(&format!("/api/v1/jobs/{}", id(&job)))["state"], "queued");
    assert_eq!(workshop.report("mill").executed, 0);
}

/// A disk that can be frozen: one of its own in a file, or else whatever disk the store is on, whose every answer to the
/// store's thread is held back.
struct Frozen {
    /// Where the disk of its own is mounted.
    place: Option<PathBuf>,
    holding: Option<Child>,
}

impl Frozen {
    fn prepared(workshop: &Workshop) -> Self {
        let (image, place) = (workshop.home.path().join("image"), workshop.home.path().join("store"));
        std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        std::fs::create_dir_all(&place).unwrap();
        let (from, to) = (image.to_str().unwrap(), place.to_str().unwrap());
        let mounted =
            may_have_rights() && run("mkfs.ext4", &["-q", "-F", from]) && run("mount", &["-o", "loop", from, to]);
        Self { place: mounted.then_some(place), holding: None }
    }

    fn freeze(&mut self, agent: &Agent) {
        match &self.place {
            Some(place) => assert!(run("fsfreeze", &["-f", place.to_str().unwrap()])),
            None => self.holding = Some(held_back(agent)),
        }
    }

    fn thaw(&mut self) {
        if let Some(place) = &self.place {
            run("fsfreeze", &["-u", place.to_str().unwrap()]);
        }
        if let Some(mut holding) = self.holding.take() {
            // It lets go of the thread.
            run("kill", &[&holding.id().to_string()]);
            let _ = holding.wait();
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        if let Some(place) = &self.place {
            run("umount", &["-l", place.to_str().unwrap()]);
        }
    }
}

/// Has every call of the store's thread to the disk wait for longer than the test.
fn held_back(agent: &Agent) -> Child {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", agent.process())).unwrap();
    let thread = tasks
        .map(|task| task.unwrap().path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "store"));
    let thread = thread.expect("the store has a thread of its own");
    let calls = "pwrite64,fsync,fdatasync,ftruncate,openat,unlink,statx,newfstatat";
    let mut holding = Command::new("strace")
        .args(["-p", thread.file_name().unwrap().to_str().unwrap(), "-o", "/dev/null", "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:delay_enter=60000000")])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is needed for this test: apt-get install strace");
    let mut said = String::new();
    let mut words = BufReader::new(holding.stderr.take().unwrap());
    words.read_line(&mut said).unwrap();
    assert!(
        said.contains("attached"),
        "this test needs a disk that hangs: run it as root, or allow strace to attach (sysctl \
         kernel.yama.ptrace_scope=0): {said}"
    );
    std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
    holding
}
