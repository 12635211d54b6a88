//! Every crash point of a scripted day: the store is rebuilt from each prefix of what was done to the disk, with the last
//! writes kept, lost, torn or in any order, opened again, and asked.
//!
//! The deeds are recorded once, from the kernel's side, by `strace`: it shows what SQLite and the agent really asked for,
//! syncs included, needs no rights and no file system of our own, and no unsafe code. Which of what was not synced is on
//! the disk afterwards is the model's choice (`disk.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

mod day;
mod disk;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk::{Disk, Fate};
use fab_agent::jobs::JobState;
use fab_agent::store::{Cursor, Item};
use trace::Deed;

/// Names the folder of a day for the process that lives it.
const DAY: &str = "FAB_AGENT_TEST_DAY";

/// Jobs of the recorded day, in two lives.
const JOBS: u32 = 8;

/// Real kills, each at a moment of chance.
const KILLS: u32 = 200;

/// Points of chance, unless another number is named, and the seed of the first day, if it is; `./check --long` has 100,000.
const POINTS: usize = 400;
const POINTS_VARIABLE: &str = "FAB_AGENT_TEST_POINTS";
const SEED_VARIABLE: &str = "FAB_AGENT_TEST_SEED";

/// Points in one day: recording one takes as long as building and asking some hundred stores.
const POINTS_OF_A_DAY: usize = 200;

/// The day itself, in a process of its own; as a test it does nothing.
#[test]
fn the_day() {
    let Some(folder) = std::env::var_os(DAY).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut witness = day::Witness::new(&folder.join("witness"));
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok().and_then(|text| text.trim().parse().ok());
    let life = number("life").unwrap_or(0) as u32;
    let lives: Vec<Vec<u32>> = match number("seed") {
        Some(seed) => random_lives(seed),
        None => vec![(0..JOBS).collect(); 2],
    };
    runtime.block_on(async {
        for (next, jobs) in (0..).zip(&lives) {
            day::live(&folder.join("store"), &mut witness, life * 2 + next, jobs, true).await;
        }
    });
}

/// The lives of a day of chance, and the jobs of each.
fn random_lives(seed: u64) -> Vec<Vec<u32>> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let lives = chance.usize(1..=3);
    (0..lives).map(|_| (0..chance.usize(0..=6)).map(|_| chance.u32(0..1000)).collect()).collect()
}

fn day_in(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_day", "--nocapture"]).env(DAY, folder);
    command
}

/// A folder in memory, where the system has one: thousands of stores are built.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// What was said to the world until the power went.
#[derive(Debug, Default, Clone)]
struct Said {
    accepted: BTreeSet<String>,
    started: BTreeSet<String>,
    /// Ended, or about to be: it happened, and whether it was written is the disk's.
    over: BTreeSet<String>,
    deleted: BTreeSet<String>,
    told: BTreeMap<u64, String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap();
        let rest = rest.to_owned();
        match word {
            "accepted" => drop(self.accepted.insert(rest)),
            "started" => drop(self.started.insert(rest)),
            "over" => drop(self.over.insert(rest)),
            "deleted" => drop(self.deleted.insert(rest)),
            "told" => {
                let (number, text) = rest.split_once(' ').unwrap();
                assert!(
                    self.told.insert(number.parse().unwrap(), text.to_owned()).is_none(),
                    "{number} was given twice"
                );
            }
            _ => panic!("{line}"),
        }
    }
}

/// Opens a store and asks: what was promised is there, and nothing is better than the truth.
async fn ask(store_folder: &Path, said: &Said, what: &str) {
    let (store, jobs) = day::open(store_folder).await;
    for entry in std::fs::read_dir(store_folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains("damaged") && !name.contains("strange"), "{what}: {name}");
    }
    let states: BTreeMap<_, _> = jobs.iter().map(|job| (job.id.clone(), job.state)).collect();
    assert_eq!(states.len(), jobs.len(), "{what}: a job is there twice");
    for id in said.accepted.difference(&said.deleted) {
        let older = match states.get(id) {
            Some(state) => Some(*state),
            None => day::patiently(|| store.job(id)).await.map(|job| job.state),
        };
        let state = older.unwrap_or_else(|| panic!("{what}: {id} was accepted and is gone"));
        if said.started.contains(id) {
            assert!(!matches!(state, JobState::Checking | JobState::Queued), "{what}: {id} would be started twice");
        }
        if state == JobState::Finished {
            assert!(said.over.contains(id), "{what}: {id} is better than the truth");
        }
    }
    for job in jobs.iter().filter(|job| !job.state.is_over()) {
        assert!(
            store.programs().verify(&job.sha256, 0).is_ok(),
            "{what}: the program of {} is not what it was",
            job.id
        );
    }
    // Numbers: each fact has the one it was told with, or none, and no new fact gets one that was told.
    let (mut cursor, mut last) = (Cursor::default(), 0);
    loop {
        let batch = day::patiently(|| store.read(&cursor, 500)).await;
        if batch.cursor == cursor {
            break;
        }
        cursor = batch.cursor.clone();
        for item in batch.items {
            match item {
                Item::Gap(gap) => {
                    assert!(gap.from == last + 1 && gap.to >= gap.from, "{what}: {gap:?} after {last}");
                    last = gap.to;
                }
                Item::Row(row) => {
                    assert_eq!(row.number, last + 1, "{what}");
                    last = row.number;
                    if let Some(told) = said.told.get(&row.number) {
                        assert_eq!(row.document()["text"], **told, "{what}: {} has another fact", row.number);
                    }
                }
            }
        }
    }
    let next = store.newest().number + 1;
    assert!(said.told.keys().all(|number| *number < next), "{what}: {next} was told already");
    store.end().await;
    // Tidied up: no half upload, and no program that nobody has.
    let kept = std::fs::read_dir(store_folder.join("programs")).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        kept.iter().all(|name| Path::new(name).extension().is_some_and(|extension| extension == "gcode")),
        "{what}: half an upload is left over: {kept:?}"
    );
    if jobs.len() < 100 {
        let needed: BTreeSet<_> = jobs.iter().map(|job| format!("{}.gcode", job.sha256)).collect();
        assert!(kept.iter().all(|name| needed.contains(name)), "{what}: a program is left over: {kept:?}");
    }
}

#[test]
fn the_store_keeps_its_promises_at_every_crash_point() {
    let home = tempfile::tempdir().unwrap();
    let (folder, witness) = (home.path().join("store"), home.path().join("witness"));
    let deeds = trace::record(&day_in(home.path()), &folder, &witness);
    let syncs = deeds.iter().filter(|deed| matches!(deed, Deed::Sync(_))).count();
    assert!(deeds.len() > 500 && syncs > 50, "{} deeds, {syncs} syncs: too little was seen", deeds.len());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (mut disk, mut said, mut built) = (Disk::default(), Said::default(), 0);
    for (number, deed) in deeds.iter().enumerate() {
        disk.does(deed);
        if let Deed::Said(line) = deed {
            said.hear(line);
            continue;
        }
        let fates = [
            (Fate::Kept, true),
            (Fate::Lost, true),
            (Fate::Lost, false),
            (Fate::Torn, true),
            (Fate::Some(number as u64), number % 2 == 0),
        ];
        for (fate, names_kept) in fates {
            let place = self::folder();
            disk.build(place.path(), fate, names_kept);
            let what = format!("after deed {number} ({}), {fate:?}, names {names_kept}", brief(deed));
            runtime.block_on(ask(place.path(), &said, &what));
            built += 1;
        }
    }
    println!("{} deeds, {built} stores built and asked", deeds.len());
}

fn brief(deed: &Deed) -> String {
    match deed {
        Deed::Write(name, place, bytes) => format!("{} bytes at {place} of {name}", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// Points in days of chance: the disk as it is after a number of deeds, with some of the last writes.
#[test]
fn the_store_keeps_its_promises_at_points_of_chance_in_days_of_chance() {
    let points: usize = std::env::var(POINTS_VARIABLE).map_or(POINTS, |points| points.parse().unwrap());
    let first = std::env::var(SEED_VARIABLE).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut left = points;
    for seed in (0..).map(|day| first.wrapping_add(day)) {
        let here = left.min(POINTS_OF_A_DAY);
        random_day(&runtime, seed, here);
        left -= here;
        if left == 0 {
            break;
        }
    }
    println!("{points} points in {} days from seed {first} on", points.div_ceil(POINTS_OF_A_DAY));
}

fn random_day(runtime: &tokio::runtime::Runtime, seed: u64, points: usize) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("seed"), seed.to_string()).unwrap();
    let deeds = trace::record(&day_in(home.path()), &home.path().join("store"), &home.path().join("witness"));
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut points: Vec<_> = (0..points).map(|_| chance.usize(0..deeds.len())).collect();
    points.sort_unstable();
    let mut points = points.into_iter().peekable();
    let (mut disk, mut said) = (Disk::default(), Said::default());
    for (number, deed) in deeds.iter().enumerate() {
        match deed {
            Deed::Said(line) => said.hear(line),
            deed => disk.does(deed),
        }
        while points.next_if_eq(&number).is_some() {
            let fate = match chance.u32(0..6) {
                0 => Fate::Kept,
                1 => Fate::Lost,
                2 => Fate::Torn,
                _ => Fate::Some(chance.u64(..)),
            };
            let names_kept = chance.bool();
            let place = self::folder();
            disk.build(place.path(), fate, names_kept);
            let what = format!("seed {seed}, after deed {number} ({}), {fate:?}, names {names_kept}", brief(deed));
            runtime.block_on(ask(place.path(), &said, &what));
        }
    }
}

#[test]
fn the_store_keeps_its_promises_when_its_process_is_killed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let home = folder();
    let mut said = Said::default();
    for life in 0..KILLS {
        std::fs::write(home.path().join("life"), life.to_string()).unwrap();
        let mut process = day_in(home.path()).stdout(Stdio::null()).spawn().unwrap();
        // In the middle of something: behind a number of things said that nobody knows before.
        let said_until = fastrand::usize(0..150);
        let lines = || std::fs::read_to_string(home.path().join("witness")).unwrap_or_default().lines().count();
        while lines() < said_until && process.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let text = std::fs::read_to_string(home.path().join("witness")).unwrap_or_default();
        std::fs::remove_file(home.path().join("witness")).ok();
        text.lines().for_each(|line| said.hear(line));
        // Asked of a copy: the next life begins where this one was killed.
        let copy = folder();
        copy_all(&home.path().join("store"), copy.path());
        runtime.block_on(ask(copy.path(), &said, &format!("kill {life}")));
        // What is long past was asked about often enough.
        said.told = said.told.split_off(&said.told.keys().next_back().map_or(0, |last| last.saturating_sub(9000)));
        let long_past = said.accepted.iter().rev().nth(300).cloned().unwrap_or_default();
        said.accepted = said.accepted.split_off(&long_past);
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
