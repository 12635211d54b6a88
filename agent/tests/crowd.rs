//! Clients that would shut everybody else out: by their number, by their slowness, by the files they hold open. The real
//! program, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "common/agent.rs"]
mod agent;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent::{Agent, PATIENCE, PLATE, Workshop, text};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use serde_json::Value;

/// Far more than a stop takes, and far less than anybody waits for who does not come to their turn: the figure itself is
/// measured by `benches/load`.
const SOON: Duration = Duration::from_secs(3);

/// Connections without a request, and uploads that are under way.
const HALF_OPEN: usize = 1100;
const UPLOADS: usize = 300;

fn workshop() -> Workshop {
    Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)])
}

/// This process holds the other ends.
fn many_files(wanted: u64) {
    let known = getrlimit(Resource::Nofile);
    let maximum = known.maximum;
    assert!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "this test needs {wanted} open files: ulimit -Hn {wanted}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

fn connect(agent: &Agent) -> TcpStream {
    let stream = TcpStream::connect(&agent.host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn half_open(agent: &Agent) -> TcpStream {
    let mut stream = connect(agent);
    let _ = stream.write_all(b"POST /api/v1/machines/mill/jobs HTTP/1.1\r\nHost: 127");
    stream
}

/// Somebody who follows the events: at work for as long as they like.
fn follower(agent: &Agent) -> TcpStream {
    let mut stream = connect(agent);
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", agent.host).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&begin));
    stream
}

/// A broker that welcomes everybody and then never reads again.
fn hung_broker() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            // CONNACK of MQTT 5: no session, success, no properties.
            let _ = stream.write_all(&[0x20, 3, 0, 0, 0]);
            held.push(stream);
        }
    });
    port
}

/// Uploads that go on a piece at a time until the flag is taken away, none of them to its end.
fn upload(agent: &Agent, goes_on: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let mut uploads: Vec<_> = (0..UPLOADS).map(|_| connect(agent)).collect();
    for stream in &mut uploads {
        let (host, bytes) = (&agent.host, 1_000_000);
        write!(stream, "POST /api/v1/machines/mill/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: {bytes}\r\n\r\n")
            .unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    let goes_on = goes_on.clone();
    std::thread::spawn(move || {
        let mut sent = vec![0; uploads.len()];
        while goes_on.load(Ordering::Relaxed) {
            for (stream, sent) in uploads.iter_mut().zip(&mut sent) {
                // The last piece never comes.
                if *sent < 990_000 {
                    *sent += stream.write(&[b'\n'; 2000]).unwrap_or(0);
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

#[test]
fn eleven_hundred_half_open_connections_shut_the_stop_out() {
    many_files(4000);
    let mut workshop = workshop();
    workshop.with_broker(hung_broker());
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let goes_on = Arc::new(AtomicBool::new(true));
    let uploading = upload(&agent, &goes_on);
    let half_open: Vec<_> = (0..HALF_OPEN).map(|_| half_open(&agent)).collect();
    let mut took: Vec<_> = (0..50)
        .map(|_| {
            let asked = Instant::now();
            let stopped = agent.act("machines", "mill", "stop");
            assert_eq!(stopped.status, 200, "{stopped:?}");
            asked.elapsed()
        })
        .collect();
    let listed = agent.ask("GET", "/api/v1/machines/mill", "", b"");
    goes_on.store(false, Ordering::Relaxed);
    uploading.join().unwrap();
    took.sort();
    println!("50 stops among {} half-open connections: {:?}, {:?} at most", half_open.len(), took[25], took[49]);
    assert!(took[49] < SOON, "{took:?}");
    assert_eq!(listed.status, 200, "{listed:?}");
}

#[test]
fn a_request_that_trickles_in_was_waited_for_for_ever() {
    let workshop = workshop();
    let agent = workshop.start();
    let mut stream = connect(&agent);
    let began = Instant::now();
    let mut heard = Vec::new();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while heard.is_empty() {
        assert!(began.elapsed() < PATIENCE, "it is never ended");
        let _ = stream.write_all(b"G");
        let mut buffer = [0; 2000];
        let count = stream.read(&mut buffer).unwrap_or(0);
        heard = buffer[..count].to_vec();
    }
    let answer = String::from_utf8_lossy(&heard);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("http.too_slow"), "{answer}");
}

#[test]
fn a_client_with_too_many_connections_is_told_so_and_can_stop_its_machine() {
    let workshop = workshop().with_http("connections_per_client = 4");
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let followers: Vec<_> = (0..4).map(|_| follower(&agent)).collect();
    let refused = agent.ask("GET", "/api/v1/jobs", "", b"");
    assert_eq!((refused.status, refused.code().as_str()), (503, "http.too_many"));
    assert!(text(&refused.json(), "detail").contains("connections_per_client"), "{refused:?}");
    assert_eq!(agent.act("machines", "mill", "stop").status, 200);
    assert_eq!(agent.ask("GET", "/api/v1/machines/mill", "", b"").status, 200);
    drop(followers);
    let began = Instant::now();
    while agent.ask("GET", "/api/v1/jobs", "", b"").status != 200 {
        assert!(began.elapsed() < PATIENCE, "their places are not free again");
    }
}

/// Files that a process has open.
fn open_files(process: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64
}

/// Sets how many files the agent may have open.
fn bound(agent: &Agent, files: u64) {
    let process = Pid::from_raw(i32::try_from(agent.process()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(process, Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
}

/// Processor time a process has used, in ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn where_no_file_can_be_opened_any_more_the_stop_was_shut_out() {
    let workshop = workshop();
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let maximum = open_files(agent.process());
    bound(&agent, maximum + 3);
    // They are at work, and make no room.
    let followers: Vec<_> = (0..3).map(|_| follower(&agent)).collect();
    let crowd: Vec<_> = (0..100).map(|_| half_open(&agent)).collect();
    let ticks_before = ticks(agent.process());
    let began = Instant::now();
    for _ in 0..10 {
        let asked = Instant::now();
        let stopped = agent.act("machines", "mill", "stop");
        assert_eq!(stopped.status, 200, "{stopped:?}");
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    }
    while began.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let used = ticks(agent.process()) - ticks_before;
    assert!(used < 100, "it turns in circles: {used} of 200 ticks");
    drop((crowd, followers));
    bound(&agent, 2000);
    let began = Instant::now();
    while agent.ask("GET", "/api/v1/jobs", "", b"").status != 200 {
        assert!(began.elapsed() < PATIENCE, "it stays short of files");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_took_the_files_that_the_store_and_the_machines_need() {
    let mut workshop = workshop();
    workshop.through(&["sh", "-c", "ulimit -n 256 && exec \"$0\" \"$@\""]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    let mut followers = Vec::new();
    loop {
        let mut stream = connect(&agent);
        write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", agent.host).unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        if &begin == b"HTTP/1.1 503" {
            break;
        }
        followers.push(stream);
        assert!(followers.len() < 256);
    }
    let left = 256 - open_files(agent.process());
    println!("{} clients let in, {left} files left", followers.len());
    assert!(left >= 96 && followers.len() > 20, "{} clients, {left} files", followers.len());
    // One who goes is replaced, and everything else works.
    followers.truncate(followers.len() - 2);
    let began = Instant::now();
    let job: Value = loop {
        let kept = agent.ask("POST", "/api/v1/machines/mill/jobs?name=plate.nc", "", PLATE);
        if kept.status == 201 {
            break kept.json();
        }
        assert!(began.elapsed() < PATIENCE, "{kept:?}");
    };
    assert_eq!(agent.act("jobs", text(&job, "id"), "start").status, 200);
    agent.job_is(&job, "finished");
}
