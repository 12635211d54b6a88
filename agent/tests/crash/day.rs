//! A scripted day of a store: uploads, jobs accepted, started, ended, cancelled and deleted, a broker that is away, and a
//! restart. What somebody was told is written into a file of its own, in the order in which it was said.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::Notice;
use fab_agent::config;
use fab_agent::jobs::{JobState, Record};
use fab_agent::store::{Change, Class, Fact, News, NotWritten, Spooled, Store};
use serde_json::json;

/// Stable code of a store that has not answered for a while.
const SLOW: &str = "store.slow";

/// Longest wait for the store: far beyond what a loaded computer needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two questions to a store that is slow.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Says what was told to somebody outside. Not synced: it is on no disk that loses power.
pub(crate) struct Witness(File);

impl Witness {
    pub(crate) fn new(path: &Path) -> Self {
        Self(File::options().create(true).append(true).open(path).unwrap())
    }

    pub(crate) fn say(&mut self, what: &str) {
        self.0.write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}

/// A job in a state, with nothing known of it that is not known of every job.
pub(crate) fn record(id: &str, state: JobState, sha256: &str) -> Record {
    let record = json!({
        "id": id, "machine": "mill", "name": format!("part {id}"), "state": state, "submitted_at": "",
        "sha256": sha256, "bytes": 0, "lines": 0, "commands": 0, "findings": [], "time_line": [],
        "progress": { "sent": 0, "accepted": 0, "executed": 0, "resends": 0 },
        "idempotency_key": format!("key {id}"),
    });
    serde_json::from_value(record).unwrap()
}

pub(crate) async fn open(folder: &Path) -> (Store, Vec<Record>) {
    let settings = config::Store { reserve_bytes: 0, ..config::Store::at(folder) };
    let (store, mut news) = Store::open(&settings).await.unwrap();
    match news.recv().await {
        Some(News::Opened(contents)) => (store, contents.jobs),
        other => panic!("{other:?}"),
    }
}

/// What the store says once it says anything. On a computer that has much else to do its thread may be without a turn for
/// so long that it is called slow: a client asks again then.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Notice>>>(ask: impl Fn() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(notice) if notice.code == SLOW && Instant::now() < until => tokio::time::sleep(ASK_EVERY).await,
            Err(notice) => panic!("{notice}"),
        }
    }
}

async fn upload(store: &Store, text: &str) -> Spooled {
    patiently(|| async move {
        let mut arriving = store.programs().begin(Some(text.len() as u64)).await?;
        for piece in text.as_bytes().chunks(100) {
            arriving.write(piece).await?;
        }
        arriving.finish(None).await
    })
    .await
}

/// Has it written that a job is what it is now.
async fn permit(store: &Store, text: &str, record: Record, key_is_new: bool) {
    let (record, until) = (Arc::new(record), Instant::now() + PATIENCE);
    loop {
        match store.permit(vec![fact(Class::Person, text)], record.clone(), key_is_new).await {
            Ok(()) => return,
            Err(NotWritten::Trouble(notice)) if notice.code == SLOW && Instant::now() < until => {
                // It may be there all the same.
                let there = patiently(|| store.job(&record.id)).await;
                if there.is_some_and(|there| there.state == record.state) {
                    return;
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// One life of the agent, with a job for each of these numbers, which say what becomes of it.
pub(crate) async fn live(folder: &Path, witness: &mut Witness, life: u32, jobs: &[u32], in_good_order: bool) {
    let (store, found) = open(folder).await;
    // As the desk does: what was on a machine has failed, and what was accepted waits.
    for job in found.into_iter().filter(|job| job.state.is_on_machine()) {
        let failed = Record { state: JobState::Failed, ..job };
        witness.say(&format!("over {}", failed.id));
        tell(&store, witness, Class::Job, &format!("{} failed", failed.id), Some(failed));
    }
    for (place, number) in jobs.iter().enumerate() {
        job(&store, witness, &format!("{life:04}-{place:02}"), *number).await;
    }
    store.keep("configuration", Some(format!("{life}")));
    store.keep_cursor("mqtt", &store.newest());
    if in_good_order {
        store.end().await;
    }
}

async fn job(store: &Store, witness: &mut Witness, id: &str, number: u32) {
    let program =
        upload(store, &format!("G21 G90\n; {id}\n{}M2\n", "G1 X1 F600\nG1 X2\n".repeat(number as usize % 5))).await;
    let accepted = record(id, JobState::Checking, &program.sha256);
    permit(store, &format!("{id} submitted"), accepted.clone(), true).await;
    program.kept();
    witness.say(&format!("accepted {id}"));
    let queued = Record { state: JobState::Queued, ..accepted };
    tell(store, witness, Class::Job, &format!("{id} queued"), Some(queued.clone()));
    match number % 4 {
        // Cancelled while it waits.
        1 => {
            witness.say(&format!("over {id}"));
            tell(
                store,
                witness,
                Class::Job,
                &format!("{id} cancelled"),
                Some(Record { state: JobState::Cancelled, ..queued }),
            );
        }
        // Waits.
        2 => {}
        _ => run(store, witness, queued, number % 4 == 3).await,
    }
}

/// A job is started and ends; `forgotten` afterwards, if it is.
async fn run(store: &Store, witness: &mut Witness, queued: Record, forgotten: bool) {
    let id = queued.id.clone();
    let armed = Record { state: JobState::Armed, ..queued };
    permit(store, &format!("{id} started"), armed.clone(), false).await;
    witness.say(&format!("started {id}"));
    let mut running = Record { state: JobState::Running, ..armed };
    tell(store, witness, Class::Job, &format!("{id} running"), Some(running.clone()));
    for line in 1..4 {
        tell(store, witness, Class::Chatter, &format!("{id} says {line}"), None);
        running.progress.executed_line = line;
        store.tell([], [(id.clone(), Change::Progress(Arc::new(running.clone())))]);
    }
    witness.say(&format!("over {id}"));
    let finished = Record { state: JobState::Finished, ..running };
    tell(store, witness, Class::Job, &format!("{id} finished"), Some(finished.clone()));
    if forgotten {
        // Known to be written before it is forgotten, so that the disk sees both.
        while patiently(|| store.job(&id)).await.is_none_or(|job| job.state != JobState::Finished) {
            tokio::task::yield_now().await;
        }
        witness.say(&format!("deleted {id}"));
        store.forget(&finished, fact(Class::Person, &format!("{id} deleted")));
    }
}

fn fact(class: Class, text: &str) -> Fact {
    Fact::new(class, json!({ "type": "test", "text": text }))
}

/// Tells a fact; a reader that follows at once hears it with its number.
fn tell(store: &Store, witness: &mut Witness, class: Class, text: &str, job: Option<Record>) {
    let changes = job.map(|job| (job.id.clone(), Change::Put(Arc::new(job))));
    store.tell([fact(class, text)], changes);
    witness.say(&format!("told {} {text}", store.newest().number));
}
