//! What telling the truth costs: bytes between the agent and its broker, counted on a line of our own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Setup};

use crate::agent::Workshop;
use crate::broker::{Broker, Subscriber};

/// Minutes that are measured at most, until one is quiet.
const MINUTES_MAX: usize = 5;

/// A line between a client and the broker: it counts what goes over it, and can be slow towards the client.
pub(crate) struct Line {
    pub(crate) port: u16,
    bytes: Arc<AtomicU64>,
    frozen: Arc<AtomicBool>,
}

impl Line {
    /// A line to the broker on this port, at most so many bytes a second towards the client.
    pub(crate) fn to(broker: u16, bytes_per_s: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bytes = Arc::new(AtomicU64::new(0));
        let frozen = Arc::new(AtomicBool::new(false));
        let (counted, freezes) = (bytes.clone(), frozen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                // A broker that is away: the client hears the end of the connection.
                let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let pump = |from, to, rate| pump(from, to, counted.clone(), freezes.clone(), rate);
                pump(client.try_clone().unwrap(), server.try_clone().unwrap(), None);
                pump(server, client, bytes_per_s);
            }
        });
        Self { port, bytes, frozen }
    }

    /// From now on nothing arrives any more, and nobody hears of it.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Bytes that went over it, both ways.
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    counted: Arc<AtomicU64>,
    frozen: Arc<AtomicBool>,
    bytes_per_s: Option<u64>,
) {
    std::thread::spawn(move || {
        let mut some = [0; 2048];
        while let Ok(read) = from.read(&mut some) {
            if read > 0 && frozen.load(Ordering::SeqCst) {
                continue;
            }
            if read == 0 || to.write_all(&some[..read]).is_err() {
                break;
            }
            counted.fetch_add(read as u64, Ordering::SeqCst);
            if let Some(rate) = bytes_per_s {
                std::thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / rate));
            }
        }
        let _ = from.shutdown(std::net::Shutdown::Both);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn an_idle_machine_cost_two_kilobytes_a_second() {
    let broker = Broker::start();
    let line = Line::to(broker.port, None);
    let machines = [("printer", "prusa-mk3s"), ("mill", "grbl-mill-3018"), ("fluid", "grbl-mill-3018")];
    let mut workshop = Workshop::new(&machines.map(|(name, profile)| (name, profile, 1.0)));
    workshop.with_broker(line.port);
    let agent = workshop.start();
    for (machine, _) in machines {
        agent.machine_is(machine, "idle");
    }
    // What follows the first idle (positions, offsets, settings) is said once.
    let subscriber = Subscriber::new(broker.port, "fab/#", None);
    while subscriber.next_before(Instant::now() + Duration::from_secs(4)).is_some() {}
    // Where this computer is so busy that machines are asked late, their readings go stale, and that is told: such a minute is
    // not one of idle machines.
    let minute = || {
        let (before, started) = (line.bytes(), Instant::now());
        let (mut heard, mut stale) = (Vec::new(), false);
        while let Some(message) = subscriber.next_before(started + Duration::from_secs(60)) {
            stale |= message.body.to_string().contains("\"stale\"");
            heard.push(message.topic);
        }
        (line.bytes() - before, heard, stale)
    };
    let still = (0..MINUTES_MAX).map(|_| minute()).find(|(.., stale)| !stale);
    let (bytes, heard, _) = still.expect("no minute without stale readings: this computer is too busy to measure");
    println!("{bytes} bytes in a minute for {} idle machines: {heard:?}", machines.len());
    assert!(heard.iter().any(|topic| topic.ends_with("/status")), "no heartbeat in a minute");
    // No more than a heartbeat and some pings, however many machines there are.
    assert!(bytes < 1000, "{bytes} bytes in a minute: {heard:?}");
}

#[test]
fn a_machine_that_answers_nothing_any_more_is_published_as_stale() {
    let broker = Broker::start();
    let subscriber = Subscriber::new(broker.port, "fab/workshop/printer/state", None);
    let machine = sim::simulated("marlin", &Setup::default()).unwrap();
    let port = Port::on_tcp(machine, Between::default(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let line = Line::to(port.address().rsplit(':').next().unwrap().parse().unwrap(), None);
    let profile = include_str!("../../../config/machines/prusa-mk3s.toml");
    let mut workshop = Workshop::new(&[]).with_machine("printer", profile, &format!("tcp://127.0.0.1:{}", line.port));
    workshop.with_broker(broker.port);
    let agent = workshop.start();
    agent.machine_is("printer", "idle");
    line.freeze();
    let frozen = Instant::now();
    let stale =
        subscriber.wait_for("stale", |message| message.body["temperatures"][0]["actual_c"]["quality"] == "stale");
    let reading = &stale.body["temperatures"][0]["actual_c"];
    let late = [&stale.body["at"], &reading["at"]].map(|at| at.as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    let age = late[0].duration_since(late[1]);
    println!("said to be stale {:.1?} after the line froze, with a reading of {age} before", frozen.elapsed());
    assert!(reading["value"].is_number() && age < jiff::SignedDuration::from_secs(30), "{}", stale.body);
}
