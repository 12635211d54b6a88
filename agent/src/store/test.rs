//! The store as a whole, on real disks and in folders where nothing is as it should be.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::jobs::JobState::{self, Cancelled, Finished, Queued, Refused, Running};
use crate::jobs::test::record;

pub(super) fn settings(folder: &Path) -> config::Store {
    config::Store { reserve_bytes: 0, ..config::Store::at(folder) }
}

async fn opened(folder: &Path) -> (Store, Contents) {
    let (store, mut news) = Store::open(&settings(folder)).await.unwrap();
    match news.recv().await {
        Some(News::Opened(contents)) => (store, *contents),
        other => panic!("{other:?}"),
    }
}

fn fact(class: Class, text: &str) -> Fact {
    Fact::new(class, json!({ "type": "test", "text": text }))
}

async fn all(store: &Store, from: &Cursor) -> Vec<Item> {
    let (mut items, mut cursor) = (Vec::new(), from.clone());
    loop {
        let batch = store.read(&cursor, 7).await.unwrap();
        if batch.cursor == cursor {
            return items;
        }
        cursor = batch.cursor;
        items.extend(batch.items);
    }
}

fn texts(items: &[Item]) -> Vec<String> {
    let text = |item: &Item| match item {
        Item::Row(row) => row.document()["text"].as_str().unwrap_or_default().to_owned(),
        Item::Gap(gap) => format!("{}..{}", gap.from, gap.to),
    };
    items.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_vanished_with_a_restart_and_a_reader_now_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    store.tell([fact(Class::Trouble, "a"), fact(Class::Chatter, "b")], []);
    let after_a = Cursor { number: store.newest().number - 1, ..store.newest() };
    store.keep_cursor("mqtt", &after_a);
    store.end().await;
    let (store, contents) = opened(home.path()).await;
    assert!(contents.ended_well && contents.lost.is_none());
    assert_eq!(store.cursor("mqtt").await.unwrap(), Some(after_a.clone()));
    store.tell([fact(Class::Trouble, "c")], []);
    assert_eq!(texts(&all(&store, &after_a).await), ["b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_a_crash_and_not_written_is_a_gap_and_its_numbers_are_not_used_again() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    store.permit(vec![fact(Class::Person, "a")], Arc::new(record("1", JobState::Checking)), false).await.unwrap();
    let written = store.newest();
    let copy = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(home.path().join(name), copy.path().join(name)).unwrap();
    }
    let (store, contents) = opened(copy.path()).await;
    let lost = contents.lost.unwrap();
    assert!(!contents.ended_well && lost.from == written.number + 1);
    store.tell([fact(Class::Trouble, "b")], []);
    assert_eq!(store.newest().number, lost.to + 1);
    assert_eq!(texts(&all(&store, &written).await), [format!("{}..{}", lost.from, lost.to), "b".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_on_one_store_wrote_over_each_other() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    let second = Store::open(&settings(home.path())).await.unwrap_err();
    assert_eq!(second.code, "store.in_use");
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_job_however_often_it_is_submitted() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    let keyed =
        |id: &str| Arc::new(crate::jobs::Record { idempotency_key: Some("k".into()), ..record(id, JobState::Queued) });
    let both = tokio::join!(store.permit(vec![], keyed("1"), true), store.permit(vec![], keyed("2"), true));
    assert!(
        matches!(both, (Ok(()), Err(NotWritten::KeyTaken(_))) | (Err(NotWritten::KeyTaken(_)), Ok(()))),
        "{both:?}"
    );
    let third = store.permit(vec![], keyed("3"), true).await;
    assert!(matches!(third, Err(NotWritten::KeyTaken(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_are_read_a_page_at_a_time_and_the_oldest_beyond_the_history_are_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let (store, mut news) =
        Store::open(&config::Store { history_jobs: 10_000, ..settings(home.path()) }).await.unwrap();
    assert!(matches!(news.recv().await, Some(News::Opened(_))));
    let jobs = (0..10_050).map(|number| Arc::new(record(&format!("{number:05}"), JobState::Finished)));
    store.tell([fact(Class::Job, "many")], jobs.map(|job| (job.id.clone(), Change::Put(job))));
    let mut page = Page { limit: 1000, ..Page::default() };
    let mut seen = Vec::new();
    loop {
        let found = store.jobs_over(page.clone()).await.unwrap();
        let Some(last) = found.last() else { break };
        page.before = Some(last.id.clone());
        seen.extend(found.into_iter().map(|job| job.id));
    }
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
    assert_eq!(seen.first().map(String::as_str), Some("10049"));
    assert!(seen.len() >= 10_000);
    assert_eq!(store.job("09000").await.unwrap().unwrap().id, "09000");
    for _ in 0..300 {
        store.tell([fact(Class::Trouble, "x")], []);
    }
    while store.job("00049").await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert!(store.job("00050").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_started_often_and_writes_little_never_let_go_of_anything() {
    let home = tempfile::tempdir().unwrap();
    for id in ["1", "2", "3"] {
        let settings = config::Store { history_jobs: 1, ..settings(home.path()) };
        let (store, mut news) = Store::open(&settings).await.unwrap();
        assert!(news.recv().await.is_some());
        store.permit(vec![], Arc::new(record(id, JobState::Finished)), false).await.unwrap();
        store.end().await;
    }
    let (store, _) = opened(home.path()).await;
    let left = store.jobs_over(Page { limit: 10, ..Page::default() }).await.unwrap();
    assert!(left.len() <= 2 && left[0].id == "3", "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_and_the_rows_keep_their_numbers() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    let start = store.newest();
    let by = |who: &str| Some(Who { who: who.into(), from: "10.0.0.7".into(), ..Who::default() });
    store.tell([fact(Class::Person, "a").by(by("ada")), fact(Class::Person, "b").by(by("bo"))], []);
    store.end().await;
    let (store, _) = opened(home.path()).await;
    store.tell([fact(Class::Person, "c").by(by("ada"))], []);
    turned(&store).await;
    store.tell([fact(Class::Chatter, "d").by(by("ada"))], []);
    assert_eq!(store.erase("ada").await.unwrap(), 3, "written before, written now, and not written yet");
    let items = all(&store, &start).await;
    let whos = items.iter().map(|item| match item {
        Item::Row(row) => row.who.as_ref().map(|who| who.who.clone()),
        Item::Gap(gap) => panic!("{gap:?}"),
    });
    assert_eq!(whos.collect::<Vec<_>>(), [None, Some("bo".to_owned()), None, None]);
    store.end().await;
    for path in files::files(home.path()) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(3).any(|three| three == b"ada"), "{path:?} still has the name");
    }
    let (store, _) = opened(home.path()).await;
    assert_eq!(store.erase("10.0.0.7").await.unwrap(), 1, "an address is a person's as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_put_aside_and_named_and_the_agent_works_with_a_new_one() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("store.db"), "this is no database, however often it is read. ".repeat(100))
        .unwrap();
    let (store, contents) = opened(home.path()).await;
    assert!(contents.jobs.is_empty() && store.trouble().is_none());
    let aside = home.path().join("store.db.damaged-1");
    assert!(std::fs::read(aside).unwrap().starts_with(b"this is no database"));
    let told = all(&store, &Cursor::default()).await;
    let Item::Row(row) = told.last().unwrap() else { panic!("{told:?}") };
    assert_eq!(row.document()["notice"]["code"], "store.damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_file_link_or_device_in_the_folder_stopped_everybody() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for folder in ["jobs", "programs", "store.db"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    pipe(&at("lock"));
    pipe(&at("jobs/1.json"));
    pipe(&at("programs/a.part"));
    pipe(&at("bauds.json"));
    std::os::unix::fs::symlink("/dev/zero", at("jobs/2.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("previews")).unwrap();
    std::fs::write(at("jobs/3.json"), "{ half a rec").unwrap();
    std::fs::write(at("programs/b.part"), "half").unwrap();
    std::fs::write(at("jobs/4.json"), serde_json::to_vec(&record("4", JobState::Queued)).unwrap()).unwrap();
    let (store, contents) = opened(home.path()).await;
    assert_eq!(contents.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["4"]);
    assert_eq!(store.trouble(), None);
    assert!(!at("programs/b.part").exists() && at("previews").is_dir());
    store.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_an_earlier_agent_is_taken_over_once_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/of-json-files");
    for folder in ["jobs", "programs"] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
        for path in files::files(&sample.join(folder)) {
            std::fs::copy(&path, home.path().join(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
    let (store, contents) = opened(home.path()).await;
    let mut states: Vec<_> = contents.jobs.iter().map(|job| (job.id.as_str(), job.state)).collect();
    states.sort_by_key(|(id, _)| *id);
    let states: Vec<_> = states.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [Finished, Refused, Cancelled, Queued, Running]);
    let running = contents.jobs.iter().find(|job| job.state == Running).unwrap();
    assert!(running.progress.executed_line > 20);
    assert!(home.path().join("jobs.before-sqlite-1").is_dir() && !home.path().join("jobs").exists());
    for job in &contents.jobs {
        assert!(store.programs().verify(&job.sha256, job.bytes).is_ok());
    }
    store.end().await;
    let (_store, contents) = opened(home.path()).await;
    assert_eq!(contents.jobs.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_is_refused_or_is_not_what_was_announced_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let (store, mut news) =
        Store::open(&config::Store { program_bytes_max: 100, ..settings(home.path()) }).await.unwrap();
    assert!(news.recv().await.is_some());
    let programs = store.programs();
    let mut broken_off = programs.begin(None).await.unwrap();
    broken_off.write(b"G1 X1").await.unwrap();
    drop(broken_off);
    let mut other = programs.begin(None).await.unwrap();
    other.write(b"G1 X1").await.unwrap();
    assert_eq!(other.finish(Some("00")).await.unwrap_err().code, "job.hash_mismatch");
    let mut large = programs.begin(None).await.unwrap();
    assert_eq!(large.write(&[b'x'; 101]).await.unwrap_err().code, "job.too_large");
    drop(large);
    assert_eq!(programs.begin(Some(101)).await.unwrap_err().code, "job.too_large");
    let mut refused = programs.begin(None).await.unwrap();
    refused.write(b"G1 X2").await.unwrap();
    drop(refused.finish(None).await.unwrap());
    let folder = home.path().join("programs");
    while !files::files(&folder).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_jobs_being_accepted_were_deleted() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    let mut arriving = store.programs().begin(None).await.unwrap();
    arriving.write(b"G1 X1").await.unwrap();
    let program = arriving.finish(None).await.unwrap();
    store.programs().keep_only(&std::collections::HashSet::new());
    assert!(store.programs().verify(&program.sha256, 5).is_ok());
    std::fs::write(store.programs().path(&program.sha256), "G1 X2").unwrap();
    assert_eq!(store.programs().verify(&program.sha256, 5).unwrap_err().code, "job.program_changed");
}

/// Waits until the store's thread has done all it was asked, tidying up too.
async fn turned(store: &Store) {
    for _ in 0..2 {
        let _ = store.job("none").await;
    }
}

/// A job that waits, and its program beside the store.
async fn queued(store: &Store, id: &str) -> (Arc<crate::jobs::Record>, std::path::PathBuf) {
    // Behind the look at the programs that follows the opening.
    turned(store).await;
    let sha256 = id.repeat(64);
    let path = store.programs().path(&sha256);
    std::fs::write(&path, "G1 X1").unwrap();
    let job = Arc::new(crate::jobs::Record { sha256, ..record(id, Queued) });
    store.permit(vec![], job.clone(), false).await.unwrap();
    (job, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_vanished_took_the_programs_of_waiting_jobs_with_it() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    let (job, program) = queued(&store, "a").await;
    turned(&store).await;
    let of_nobody = store.programs().path(&"b".repeat(64));
    std::fs::write(&of_nobody, "G1 X2").unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::remove_file(home.path().join(name)).unwrap();
    }
    store.tell([fact(Class::Trouble, "x")], []);
    turned(&store).await;
    assert!(home.path().join("store.db").exists() && program.exists() && of_nobody.exists());
    // The desk tells its jobs: from then on the file has them all.
    store.tell_all([(job.id.clone(), Change::Put(job.clone()))]);
    turned(&store).await;
    assert!(program.exists() && !of_nobody.exists());
    assert_eq!(store.job("a").await.unwrap().as_ref(), Some(&*job));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_beside_a_damaged_store_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = opened(home.path()).await;
    let (_, program) = queued(&store, "a").await;
    store.end().await;
    std::fs::write(home.path().join("store.db"), "no database".repeat(1000)).unwrap();
    let (store, _) = opened(home.path()).await;
    turned(&store).await;
    let (job, _) = queued(&store, "c").await;
    store.tell_all([(job.id.clone(), Change::Put(job))]);
    turned(&store).await;
    assert!(home.path().join("store.db.damaged-1").exists() && program.exists());
}

/// A permit, and who waits for it.
fn asked(facts: Vec<Fact>, record: crate::jobs::Record) -> (Permit, oneshot::Receiver<Result<(), NotWritten>>) {
    let (reply, answered) = oneshot::channel();
    (Permit { facts, record: Arc::new(record), key_is_new: true, reply, twins: Vec::new() }, answered)
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Log::new(Run { name: String::new(), boot: String::new() })))
}

#[test]
fn a_program_that_was_refused_kept_the_stores_thread_busy_for_ever() {
    let shared = shared();
    shared.note(|work| work.unneeded.push(Unneeded { sha256: "a".repeat(64), unless_of_others: None }));
    // The thread takes it; there is nothing to write.
    let mut work = shared.lock();
    work.unneeded.clear();
    assert!(work.rest_if_idle() && !work.is_due());
    drop(work);
    shared.tell([fact(Class::Trouble, "a")], []);
    let mut work = shared.lock();
    assert!(!work.rest_if_idle() && work.is_due());
}

#[test]
fn a_second_submission_under_a_key_was_told_of_a_job_that_was_never_written() {
    for (written, second) in [
        (Ok(()), Err(NotWritten::KeyTaken(Box::new(record("1", Queued))))),
        (Err(NotWritten::Trouble(work::slow())), Err(NotWritten::Trouble(work::slow()))),
    ] {
        let (mut first, mut first_told) = asked(vec![], record("1", Queued));
        let (twin, mut second_told) = asked(vec![], record("2", Queued));
        first.twins.push(twin.reply);
        first.answer(written.clone());
        assert_eq!((first_told.try_recv().unwrap(), second_told.try_recv().unwrap()), (written, second));
    }
}

#[test]
fn a_start_was_permitted_without_its_row_where_no_number_was_left() {
    let shared = shared();
    let mut work = shared.lock();
    while work.log.numbers_left() > 1 {
        work.log.open(fact(Class::Person, "x"));
    }
    let (start, mut told) = asked(vec![fact(Class::Person, "a"), fact(Class::Job, "b")], record("1", Queued));
    let (changes, opened) = work.take(vec![start]);
    assert!(opened.is_empty() && matches!(told.try_recv(), Ok(Err(NotWritten::Trouble(_)))));
    // With what is written now there are numbers again.
    work.log.written(0, changes.mark);
    let (start, _told) = asked(vec![fact(Class::Person, "a"), fact(Class::Job, "b")], record("1", Queued));
    assert_eq!(work.take(vec![start]).1[0].1.len(), 2);
}

#[test]
fn each_attempt_at_a_failing_disk_used_up_a_number_to_say_what_was_not_said() {
    let shared = shared();
    let mut work = shared.lock();
    while work.log.numbers_left() > 0 {
        work.log.tell(fact(Class::Trouble, "x"));
    }
    work.log.tell(fact(Class::Trouble, "unsaid"));
    let next = work.log.next();
    for _ in 0..3 {
        let (changes, _) = work.take(vec![]);
        work.give_back(changes);
        work.tell_unsaid();
        assert_eq!(work.log.next(), next);
    }
    let (changes, _) = work.take(vec![]);
    work.log.written(next - 1, changes.mark);
    work.tell_unsaid();
    let said = work.log.waiting();
    assert_eq!((said.len(), &said[0].document()["count"]), (1, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_gives_up_programs_of_ended_jobs_first_and_is_told_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let (store, mut news) =
        Store::open(&config::Store { reserve_bytes: u64::MAX, ..settings(home.path()) }).await.unwrap();
    assert!(news.recv().await.is_some());
    let sha256 = |digit: &str| digit.repeat(64);
    for (digit, state) in [("a", JobState::Finished), ("b", JobState::Queued)] {
        let job = crate::jobs::Record { sha256: sha256(digit), ..record(digit, state) };
        store.permit(vec![], Arc::new(job), false).await.unwrap();
        std::fs::write(store.programs().path(&sha256(digit)), "x").unwrap();
    }
    assert_eq!(store.programs().begin(None).await.unwrap_err().code, "store.full");
    assert!(!store.programs().path(&sha256("a")).exists() && store.programs().path(&sha256("b")).exists());
}
