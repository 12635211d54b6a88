//! Job records on disk: one small file a job, replaced as a whole, so that a power cut leaves the old or the new one.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{JobState, Jobs, Reason, Record};

/// The code of a job that was on a machine when the agent ended.
pub const RESTARTED: &str = "agent.restarted";

/// Largest record that is read back, in bytes.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// Where records are kept, and those remembered.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    history: usize,
    jobs: Jobs,
}

impl Store {
    /// Opens the store. A job that was on a machine when the agent stopped has failed: nothing is known of it, and
    /// nothing is started again.
    ///
    /// # Errors
    /// The folder cannot be made or read. A record that cannot be read is left alone and told in the log.
    pub fn open(store: &Path, history: usize) -> io::Result<Self> {
        let folder = store.join("jobs");
        std::fs::create_dir_all(&folder)?;
        let mut opened = Self { folder, history, jobs: Jobs::new() };
        for path in std::fs::read_dir(&opened.folder)?.flatten().map(|entry| entry.path()) {
            match read(&path) {
                Ok(Some(record)) => {
                    opened.jobs.insert(record.id.clone(), Arc::new(record));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "a job record cannot be read"),
            }
        }
        let interrupted: Vec<_> = opened.jobs.values().filter(|job| !job.state.is_over()).cloned().collect();
        for job in interrupted.iter().filter(|job| job.state != JobState::Queued) {
            let mut record = Record::clone(job);
            record.state = JobState::Failed;
            let executed = match record.progress.executed_line {
                0 => "No line is known to be executed".to_owned(),
                line => format!("Line {line} was executed, at least"),
            };
            let message = format!(
                "The agent was restarted while the job was under way. {executed}; what the machine did after that is \
                 not known. Nothing was started again. Look at the machine and the work before anything else is started."
            );
            record.reason = Some(Reason { code: RESTARTED.to_owned(), message });
            opened.put(record);
        }
        Ok(opened)
    }

    /// Every job remembered.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Remembers a job as it is now, and forgets the oldest ended ones beyond the history's length.
    pub fn put(&mut self, record: Record) {
        if let Err(error) = self.write(&record) {
            // The job goes on: the machine does not wait for the disk. Its record is lost at a restart.
            tracing::error!(job = %record.id, %error, "a job record cannot be written");
        }
        self.jobs.insert(record.id.clone(), Arc::new(record));
        let ended: Vec<_> = self.jobs.values().filter(|job| job.state.is_over()).map(|job| job.id.clone()).collect();
        for id in ended.iter().take(ended.len().saturating_sub(self.history)) {
            self.jobs.remove(id);
            let _ = std::fs::remove_file(self.path(id));
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let part = self.folder.join(format!("{}.part", record.id));
        let mut file = std::fs::File::create(&part)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        std::fs::rename(&part, self.path(&record.id))?;
        // The new name is on the disk only when its folder is.
        std::fs::File::open(&self.folder)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Option<Record>> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    if std::fs::metadata(path)?.len() > RECORD_BYTES_MAX {
        return Err(io::Error::other("it is larger than any record"));
    }
    Ok(Some(serde_json::from_slice(&std::fs::read(path)?)?))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::jobs::Counts;

    fn record(id: &str, state: JobState) -> Record {
        Record {
            id: id.into(),
            machine: "m".into(),
            name: "part.gcode".into(),
            state,
            reason: None,
            submitted_at: String::new(),
            started_at: None,
            ended_at: None,
            sha256: String::new(),
            bytes: 0,
            lines: 0,
            commands: 0,
            time_s: Some(100.0),
            heating_s: None,
            progress: Counts::default(),
            first_refused: None,
            first_ignored: None,
            energy_kwh: None,
            link: None,
            link_cause: None,
            findings: Vec::new(),
            idempotency_key: None,
            time_line: vec![(10, 20.0), (20, 70.0), (30, 100.0)],
        }
    }

    #[test]
    fn after_a_restart_a_running_job_has_failed_and_a_waiting_one_still_waits() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), 10).unwrap();
        store.put(Record {
            progress: Counts { executed_line: 17, ..Counts::default() },
            ..record("1", JobState::Running)
        });
        store.put(record("2", JobState::Queued));
        store.put(record("3", JobState::Finished));
        std::fs::write(folder.path().join("jobs/4.json"), "{ half a rec").unwrap();
        let store = Store::open(folder.path(), 10).unwrap();
        let states: Vec<_> = store.jobs().values().map(|job| job.state).collect();
        assert_eq!(states, [JobState::Failed, JobState::Queued, JobState::Finished]);
        let reason = store.jobs()["1"].reason.as_ref().unwrap();
        assert_eq!(reason.code, "agent.restarted");
        assert!(reason.message.contains("Line 17 was executed, at least"), "{}", reason.message);
    }

    #[test]
    fn only_ended_jobs_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), 2).unwrap();
        store.put(record("0", JobState::Queued));
        for id in 1..=5 {
            store.put(record(&id.to_string(), JobState::Finished));
        }
        assert_eq!(store.jobs().keys().collect::<Vec<_>>(), ["0", "4", "5"]);
        assert_eq!(Store::open(folder.path(), 2).unwrap().jobs().len(), 3);
    }

    #[test]
    fn the_time_left_follows_the_executed_line() {
        let record = record("1", JobState::Running);
        assert_eq!(record.time_left_s(0), Some(100.0));
        assert_eq!(record.time_left_s(25), Some(30.0));
        assert_eq!(record.time_left_s(30), Some(0.0));
    }
}
