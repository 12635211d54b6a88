//! Lines per second through the mailbox, as a share of what the frames and the silent intervals allow.
//!
//! `cargo bench -p drivers --bench modbus_throughput`, with `-- rtu` or `-- tcp` behind it for one of the two. The serial
//! line is a pseudo-terminal with a modelled line of 115200 baud on it; its bound follows from the bytes of each frame, ten
//! bits each, and 1.75 ms of silence after each.
//!
//! Over TCP on loopback no time follows from the frames: what a transaction takes is what the kernel and the device take.
//! There the bound is measured in the same run, as the rate of a bare loop on a blocking socket that writes the same
//! frames with the same lines to the same simulated machine, as many of them at once as the machine allows, and reads the
//! answers before it writes more. It knows no program, no session and no time limit. A bare loop of the library's client
//! (tokio-modbus) shows what of the rest is the library's. They take turns, and the best turn of each counts: whatever
//! else runs on the computer makes all of them slower, and none faster.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench fails loudly and prints")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::machine::Setup;
use drivers::modbus::mailbox::{HOST_BLOCK, SLOTS, machine, slot_head};
use drivers::profile::Profile;
use drivers::request::Job;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, LineSpeed, simulated};
use drivers::{Permit, State, shell};
use tokio::runtime::Runtime;
use tokio_modbus::Request;
use tokio_modbus::client::Client as _;
use tokio_modbus::slave::Slave;

/// Words of a slot, slots of the machine, and slots in one write: as the simulated machine has them.
const SLOT_WORDS: usize = 30;
const SLOT_COUNT: usize = 32;
const SLOTS_A_WRITE: usize = 4;

/// Status words that function 23 brings back.
const STATUS_WORDS: usize = machine::STATUS_WORDS as usize;

/// Turns that the bound and the mailbox take over TCP, and lines in each: a second's worth or so.
const TURNS: usize = 15;
const TCP_LINES: u64 = 90_000;

/// Silence after each frame above 19200 baud (Modbus over Serial Line 1.02, 2.5.1.1).
const SILENCE_S: f64 = 0.001_75;

fn main() {
    // What `cargo test --benches` asks for: that it builds and begins.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let named: Vec<String> = std::env::args().filter(|argument| ["rtu", "tcp"].contains(&argument.as_str())).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|it| it == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if wanted("rtu") {
        serial_line(&runtime);
    }
    if wanted("tcp") {
        loopback(&runtime);
    }
}

fn serial_line(runtime: &Runtime) {
    let baud = 115_200;
    let words = SLOT_WORDS * SLOTS_A_WRITE;
    // Unit, function, four words of addresses and counts, the byte count, and two bytes of CRC around the words.
    let bytes = (13 + 2 * words) + (5 + 2 * STATUS_WORDS);
    let seconds = bytes as f64 * 10.0 / f64::from(baud) + 2.0 * SILENCE_S;
    let bound = SLOTS_A_WRITE as f64 / seconds;
    let measured = runtime.block_on(stream("modbus-rtu", LineSpeed { baud, latency: Duration::ZERO }, 1, 6_000));
    println!(
        "RTU 115200: {measured:.0} lines/s of {bound:.0} that the frames allow: {:.0} %",
        measured / bound * 100.0
    );
}

/// One question at a time, as most controllers want it, and four at once. The bound of each is that of a bare loop with
/// as many.
fn loopback(runtime: &Runtime) {
    let best = |turns: &[f64; TURNS]| turns.iter().copied().fold(0.0, f64::max);
    let mut one_at_a_time = 0.0;
    for (at_once, said) in [(1, "one question at a time"), (4, "four questions at once")] {
        let mut rates = [[0.0; TURNS]; 3];
        for turn in 0..TURNS {
            rates[0][turn] = bare(TCP_LINES, at_once);
            rates[1][turn] = runtime.block_on(stream("modbus-tcp", LineSpeed::default(), at_once as u16, TCP_LINES));
            rates[2][turn] = if at_once == 1 { runtime.block_on(library(TCP_LINES)) } else { one_at_a_time };
        }
        let [socket, measured, other] = [best(&rates[0]), best(&rates[1]), best(&rates[2])];
        println!(
            "TCP loopback, {said}: {measured:.0} lines/s of {socket:.0} that a bare socket carries: {:.0} %",
            measured / socket * 100.0,
        );
        let name = if at_once == 1 { "the bare library" } else { "the bare socket, one question at a time," };
        println!("  {:.0} % of {other:.0} that {name} carries", measured / other * 100.0);
        one_at_a_time = socket;
        let mut shares: Vec<f64> =
            rates[0].iter().zip(&rates[1]).map(|(bound, measured)| measured / bound * 100.0).collect();
        shares.sort_by(f64::total_cmp);
        println!(
            "  turn by turn {:.0} to {:.0} % of the bare socket, the middle one {:.0} %",
            shares[0],
            shares[TURNS - 1],
            shares[TURNS / 2]
        );
    }
}

fn serve(kind: &str, speed: LineSpeed, transactions: u16) -> (Port, String) {
    let setup = sim::Setup { speed: f64::INFINITY, transactions, ..sim::Setup::default() };
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
async fn stream(kind: &str, speed: LineSpeed, transactions: u16, lines: u64) -> f64 {
    let (_port, address) = serve(kind, speed, transactions);
    let profile = Profile::named("generic-mailbox").unwrap();
    let setup = Setup {
        name: "bench".into(),
        port: address,
        baud: drivers::machine::Baud::Profile,
        profile: Arc::new(profile),
        reconnect: false,
        watch_table: false,
    };
    let machine = shell::spawn(setup).unwrap();
    let mut watch = machine.watch();
    watch.wait_for(|snapshot| snapshot.state == State::Idle).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let program: Vec<String> = (1..=lines as usize).map(command).collect();
    file.write_all(program.join("\n").as_bytes()).unwrap();
    let job = Job { id: "bench".into(), lines, from_line: 1 };
    let permit = Permit::of_the_terminal(machine.name(), drivers::Request::Start(job));
    machine.start(permit, file.path().to_owned()).await.unwrap();
    // Numbers are published ten times a second, each with its time: the rate is that between the first that shows lines
    // and the last before the end, and not that until somebody hears of the end.
    let mut counted = Vec::new();
    loop {
        watch.changed().await.unwrap();
        let snapshot = watch.borrow_and_update().clone();
        let accepted = snapshot.job.as_ref().map_or(0, |job| job.accepted);
        if accepted >= lines {
            break;
        }
        if accepted > 0 {
            counted.push((snapshot.at, accepted));
        }
    }
    let [(from, first), .., (to, last)] = counted[..] else { panic!("too few lines to count: {counted:?}") };
    (last - first) as f64 / to.since(from).as_secs_f64()
}

/// The same frames from a bare loop on a socket, so many at once; the lines per second that this carries.
fn bare(lines: u64, at_once: usize) -> f64 {
    let (_port, address) = serve("modbus-tcp", LineSpeed::default(), 4);
    let mut socket = TcpStream::connect(address.trim_start_matches("modbus-tcp://")).unwrap();
    socket.set_nodelay(true).unwrap();
    let session = 1;
    let begin = question(&[1, 16], &[HOST_BLOCK], &[session, 1, 0, 0, 0]);
    assert_eq!(transact(&mut socket, &begin, 1)[0][7], 16);
    let started = Instant::now();
    let mut answers = Vec::new();
    for first in (1..=lines as usize).step_by(SLOTS_A_WRITE * at_once) {
        let mut frames = Vec::new();
        for first in (first..=lines as usize).step_by(SLOTS_A_WRITE).take(at_once) {
            let place = SLOTS as usize + (first - 1) % SLOT_COUNT * SLOT_WORDS;
            let words: Vec<u16> = (first..first + SLOTS_A_WRITE).flat_map(|line| slot(session, line)).collect();
            frames.extend(question(&[1, 23], &[machine::SESSION, machine::STATUS_WORDS, place as u16], &words));
        }
        let count = frames.len() / question(&[1, 23], &[0; 3], &[0; SLOTS_A_WRITE * SLOT_WORDS]).len();
        answers = transact(&mut socket, &frames, count);
    }
    let seconds = started.elapsed().as_secs_f64();
    let last = answers.last().unwrap();
    assert_eq!((last[7], usize::from(last[8])), (23, 2 * STATUS_WORDS));
    let taken = 9 + 2 * usize::from(machine::TAKEN - machine::SESSION);
    // The machine looks after it has answered: the last lines were taken behind the last answer.
    let taken = u16::from_be_bytes([last[taken], last[taken + 1]]);
    assert_eq!(taken, (lines as usize - SLOTS_A_WRITE) as u16, "every line was taken");
    lines as f64 / seconds
}

/// The same from a bare loop of the library's client.
async fn library(lines: u64) -> f64 {
    let (_port, address) = serve("modbus-tcp", LineSpeed::default(), 4);
    let socket = tokio::net::TcpStream::connect(address.trim_start_matches("modbus-tcp://")).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut client = tokio_modbus::client::tcp::attach_slave(socket, Slave(1));
    let session = 1;
    let begin = Request::WriteMultipleRegisters(HOST_BLOCK, vec![session, 1, 0, 0, 0].into());
    client.call(begin).await.unwrap().unwrap();
    let started = Instant::now();
    for first in (1..=lines as usize).step_by(SLOTS_A_WRITE) {
        let place = (first - 1) % SLOT_COUNT * SLOT_WORDS;
        let words: Vec<u16> = (first..first + SLOTS_A_WRITE).flat_map(|line| slot(session, line)).collect();
        let (count, address) = (STATUS_WORDS as u16, SLOTS + place as u16);
        let question = Request::ReadWriteMultipleRegisters(machine::SESSION, count, address, words.into());
        client.call(question).await.unwrap().unwrap();
    }
    lines as f64 / started.elapsed().as_secs_f64()
}

/// A line in its slot.
fn slot(session: u16, line: usize) -> Vec<u16> {
    let text = command(line);
    let mut words = vec![slot_head(session, text.len())];
    let text = text.as_bytes().chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    words.extend(text);
    words.resize(SLOT_WORDS - 1, 0);
    words.push(line as u16);
    words
}

/// A frame that writes: unit and function, places, and counted words.
fn question(head: &[u8], places: &[u16], words: &[u16]) -> Vec<u8> {
    let mut body = head.to_vec();
    body.extend(places.iter().chain([&(words.len() as u16)]).flat_map(|word| word.to_be_bytes()));
    body.push((2 * words.len()) as u8);
    body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    let mut frame = vec![0, 1, 0, 0];
    frame.extend((body.len() as u16).to_be_bytes());
    frame.extend(body);
    frame
}

/// Writes frames and reads so many answers, header and all.
fn transact(socket: &mut TcpStream, frames: &[u8], count: usize) -> Vec<Vec<u8>> {
    socket.write_all(frames).unwrap();
    let mut heard = [0; 2048];
    let (mut filled, mut from) = (0, 0);
    let mut answers = Vec::new();
    while answers.len() < count {
        filled += socket.read(&mut heard[filled..]).unwrap();
        while let Some(&[_, _, _, _, high, low, ..]) = heard.get(from..filled) {
            let to = from + 6 + usize::from(u16::from_be_bytes([high, low]));
            if to > filled {
                break;
            }
            answers.push(heard[from..to].to_vec());
            from = to;
        }
    }
    answers
}

/// A line of the program, as it goes over.
fn command(line: usize) -> String {
    if line == 1 { "G1F3000".to_owned() } else { format!("G1X{}.{:03}Y{}.5", line % 100, line % 1000, line % 90) }
}
