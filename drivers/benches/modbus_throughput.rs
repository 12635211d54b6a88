//! Lines per second through the mailbox, as a share of what the frames and the silent intervals allow.
//!
//! `cargo bench -p drivers --bench modbus_throughput`. The serial line is a pseudo-terminal with a modelled line of 115200
//! baud on it; its bound follows from the bytes of each frame, ten bits each, and 1.75 ms of silence after each. Over
//! TCP on loopback the frames cost nothing that could be counted: there the bound is what the same questions take when
//! they are asked one after the other over the same bus with nothing behind them.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench fails loudly and prints")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::machine::Setup;
use drivers::modbus::bus::{Bus, Patience};
use drivers::modbus::{Modbus, Question, address::Address};
use drivers::profile::Profile;
use drivers::request::Job;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, LineSpeed, simulated};
use drivers::{State, shell};

/// Lines of a slot, and slots in one write: as the simulated machine has them.
const SLOT_WORDS: usize = 32;
const SLOTS_A_WRITE: usize = 3;

/// Status words that function 23 brings back.
const STATUS_WORDS: usize = 20;

/// Silence after each frame above 19200 baud (Modbus over Serial Line 1.02, 2.5.1.1).
const SILENCE_S: f64 = 0.001_75;

fn main() {
    // What `cargo test --benches` asks for: that it builds and begins.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let baud = 115_200;
    let words = SLOT_WORDS * SLOTS_A_WRITE;
    // Unit, function, four words of addresses and counts, the byte count, and two bytes of CRC around the words.
    let bytes = (13 + 2 * words) + (5 + 2 * STATUS_WORDS);
    let seconds = bytes as f64 * 10.0 / f64::from(baud) + 2.0 * SILENCE_S;
    let bound = SLOTS_A_WRITE as f64 / seconds;
    let measured = runtime.block_on(stream("modbus-rtu", LineSpeed { baud, latency: Duration::ZERO }, 6_000));
    println!(
        "RTU 115200: {measured:.0} lines/s of {bound:.0} that the frames allow: {:.0} %",
        measured / bound * 100.0
    );
    let bound = runtime.block_on(ask_only(3_000));
    let measured = runtime.block_on(stream("modbus-tcp", LineSpeed::default(), 60_000));
    println!(
        "TCP loopback: {measured:.0} lines/s of {bound:.0} that the bus allows: {:.0} %",
        measured / bound * 100.0
    );
}

fn serve(kind: &str, speed: LineSpeed) -> (Port, String) {
    let setup = sim::Setup { speed: f64::INFINITY, ..sim::Setup::default() };
    let machine = simulated(kind, &setup).unwrap();
    let between = Between { speed, ..Between::default() };
    if kind == "modbus-tcp" {
        let port = Port::on_tcp(machine, between, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address().replace("tcp://", "modbus-tcp://");
        return (port, address);
    }
    let port = Port::on_pty(machine, between, None).unwrap();
    let address = format!("modbus-rtu:{}?baud=115200", port.address());
    (port, address)
}

/// Streams a program; its lines per second.
async fn stream(kind: &str, speed: LineSpeed, lines: u64) -> f64 {
    let (_port, address) = serve(kind, speed);
    let profile = Profile::named("generic-mailbox").unwrap();
    let setup = Setup {
        name: "bench".into(),
        port: address,
        baud: drivers::machine::Baud::Profile,
        profile: Arc::new(profile),
        reconnect: false,
    };
    let machine = shell::spawn(setup).unwrap();
    let mut watch = machine.watch();
    watch.wait_for(|snapshot| snapshot.state == State::Idle).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "G1 F3000").unwrap();
    for line in 1..lines {
        writeln!(file, "G1 X{}.{:03} Y{}.500", line % 100, line % 1000, line % 90).unwrap();
    }
    let job = Job { id: "bench".into(), lines, from_line: 1 };
    let started = Instant::now();
    machine.start(job, file.path().to_owned()).await.unwrap();
    let streamed = watch.wait_for(|snapshot| snapshot.job.as_ref().is_some_and(|job| job.accepted >= lines));
    drop(streamed.await.unwrap());
    lines as f64 / started.elapsed().as_secs_f64()
}

/// Asks as the mailbox does, with nothing behind it; the lines per second that this would carry.
async fn ask_only(questions: u32) -> f64 {
    let (_port, address) = serve("modbus-tcp", LineSpeed::default());
    let settings = Modbus::default();
    let bus = Bus::on(&Address::parse(&address).unwrap(), &settings).unwrap();
    let words = vec![0; SLOT_WORDS * SLOTS_A_WRITE];
    let question = Question::ReadWrite { read: 6, count: STATUS_WORDS as u16, address: 40, words };
    let started = Instant::now();
    for _ in 0..questions {
        bus.ask(1, question.clone(), Patience::of(&settings)).await.unwrap();
    }
    f64::from(questions) * SLOTS_A_WRITE as f64 / started.elapsed().as_secs_f64()
}
