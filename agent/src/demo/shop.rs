//! The demo's shop floor: simulated machines on real pseudo-terminals, reached like hardware.

use std::io;
use std::sync::Arc;

use drivers::machine;
use drivers::profile::{Kind, Profile};
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Report};

use super::programs::{BUNDLES, Bundle};

/// The simulated machines. Dropping it switches them off.
#[derive(Debug)]
pub(crate) struct Shop {
    stands: Vec<Stand>,
}

#[derive(Debug)]
struct Stand {
    bundle: Bundle,
    profile: Arc<Profile>,
    port: Port,
}

impl Shop {
    /// Switches the machines on. They move and heat `speed` times as fast as real ones.
    ///
    /// # Errors
    /// The system has no pseudo-terminal or thread left, or a bundled profile is broken.
    pub(crate) fn open(speed: f64) -> io::Result<Self> {
        let stands = BUNDLES.iter().map(|bundle| Stand::open(*bundle, speed)).collect::<io::Result<_>>()?;
        Ok(Self { stands })
    }

    /// How the agent reaches them.
    pub(crate) fn setups(&self) -> Vec<machine::Setup> {
        let setup = |stand: &Stand| machine::Setup {
            name: stand.bundle.machine.to_owned(),
            port: stand.port.address().to_owned(),
            baud: drivers::machine::Baud::Profile,
            profile: stand.profile.clone(),
            reconnect: true,
            watch_table: true,
        };
        self.stands.iter().map(setup).collect()
    }

    /// Presses a machine's reset button.
    pub(crate) fn reset(&self, machine: &str) {
        for stand in self.stands.iter().filter(|stand| stand.bundle.machine == machine) {
            stand.port.reset();
        }
    }

    /// What a machine itself says it did.
    pub(crate) fn report(&self, machine: &str) -> Option<Report> {
        self.stands.iter().find(|stand| stand.bundle.machine == machine)?.port.report()
    }
}

impl Stand {
    fn open(bundle: Bundle, speed: f64) -> io::Result<Self> {
        let profile = Profile::named(bundle.profile).map_err(io::Error::other)?;
        let setup = sim::Setup {
            speed,
            planner_blocks: profile.motion.planner_blocks as usize,
            laser_mode: profile.kind == Kind::Laser,
            rapid_mm_min: profile.motion.feed_max_mm_min[0],
            keep_lines: false,
            ..sim::Setup::default()
        };
        let machine = sim::simulated(&profile.dialect, &setup)
            .ok_or_else(|| io::Error::other(format!("there is no simulated {}", profile.dialect)))?;
        let port = Port::on_pty(machine, Between::default(), None)?;
        Ok(Self { bundle, profile: Arc::new(profile), port })
    }
}

#[cfg(test)]
mod test {
    use std::time::Duration;

    use drivers::request::Job;
    use drivers::snapshot::JobPhase;
    use drivers::{Permit, Request, State};

    use super::*;

    /// Longest wait for a job in virtual haste: far beyond what a loaded machine needs.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread")]
    async fn each_machine_executes_its_whole_program_and_the_agent_counts_the_same() {
        let shop = Shop::open(2000.0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (setup, bundle) in shop.setups().into_iter().zip(BUNDLES) {
            let machine = drivers::shell::spawn(machine::Setup { watch_table: false, ..setup }).unwrap();
            let mut snapshots = machine.watch();
            let ready = snapshots.wait_for(|snapshot| snapshot.state == State::Idle);
            tokio::time::timeout(PATIENCE, ready).await.unwrap().unwrap();
            let path = folder.path().join(bundle.file);
            std::fs::write(&path, bundle.program).unwrap();
            let job = Job { id: "j".into(), lines: 0, from_line: 1 };
            #[expect(clippy::disallowed_methods, reason = "nobody stands at these machines")]
            let permit = Permit::of_the_terminal(machine.name(), Request::Start(job));
            machine.start(permit, path).await.unwrap();
            let over = snapshots.wait_for(|snapshot| snapshot.job.as_ref().is_some_and(|job| job.phase.is_over()));
            let snapshot = tokio::time::timeout(PATIENCE, over).await.unwrap().unwrap().clone();
            let job = snapshot.job.clone().unwrap();
            let report = shop.report(bundle.machine).unwrap();
            assert_eq!(job.phase, JobPhase::Finished, "{}: {:?}", bundle.machine, snapshot.notice);
            assert_eq!(job.executed, report.executed, "{}", bundle.machine);
            assert!(report.violations.is_empty() && report.overflow == 0, "{}: {report:?}", bundle.machine);
        }
    }
}
