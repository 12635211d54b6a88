//! Questions that are asked together over TCP, and what a connection makes of answers that are none.
#![allow(clippy::disallowed_methods, reason = "the devices of these tests have threads of their own")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use drivers::modbus::bus::{Bus, Patience};
use drivers::modbus::{Modbus, Question, Table, Trouble, address::Address};
use drivers::sim::port::Between;
use drivers::snapshot::JobPhase;

use super::support::{commands, program};
use super::{machine, profile, run, serve, setup};

/// A device that does with each connection what it is told.
fn device(mut serve: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("modbus-tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
    address
}

/// The next whole frame; nothing where the connection has ended.
fn frame(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut frame = vec![0; 6];
    stream.read_exact(&mut frame).ok()?;
    frame.resize(6 + usize::from(u16::from_be_bytes([frame[4], frame[5]])), 0);
    stream.read_exact(&mut frame[6..]).ok()?;
    Some(frame)
}

/// The answer to a reading of one register, which holds its own address.
fn own_address(question: &[u8]) -> Vec<u8> {
    [&question[..4], &[0, 5, question[6], 3, 2], &question[8..10]].concat()
}

fn read(address: u16) -> Question {
    Question::Read { table: Table::Holding, address, count: 1 }
}

fn bus(address: &str, timeout_ms: u64) -> (Bus, Patience) {
    let settings = Modbus { timeout_ms, retries: 0, ..Modbus::default() };
    (Bus::on(&Address::parse(address).unwrap(), &settings).unwrap(), Patience::of(&settings))
}

#[tokio::test]
async fn answers_in_another_order_twice_and_in_pieces_go_to_the_questions_they_answer() {
    let address = device(|mut stream| {
        let mut answers = Vec::new();
        while let Some(question) = frame(&mut stream) {
            answers.push(own_address(&question));
            if answers.len() == 4 {
                answers.push(answers[1].clone());
                answers.reverse();
                for piece in answers.concat().chunks(5) {
                    stream.write_all(piece).unwrap();
                    std::thread::yield_now();
                }
                answers.clear();
            }
        }
    });
    let (bus, patience) = bus(&address, 2_000);
    for round in 0..50 {
        let addresses = [40, 41, 42, 43].map(|address| address + 4 * round);
        let mut coming = bus.post(1, addresses.map(read).to_vec(), patience).await;
        assert_eq!(coming.answers().await, addresses.map(|address| Ok(vec![address])), "round {round}");
    }
}

#[tokio::test]
async fn half_an_answer_over_tcp_was_told_as_none_and_a_closed_connection_as_success() {
    for (close, wanted) in [
        (false, Trouble::Strange("7 bytes that are no whole answer".to_owned())),
        (true, Trouble::Lost("the device closed the connection after 7 bytes of an answer".to_owned())),
    ] {
        let mut open = Vec::new();
        let address = device(move |mut stream| {
            let question = frame(&mut stream).unwrap();
            stream.write_all(&own_address(&question)[..7]).unwrap();
            open.extend(Some(stream).filter(|_| !close));
        });
        let (bus, patience) = bus(&address, 200);
        assert_eq!(bus.ask(1, read(7), patience).await, Err(wanted));
    }
    let address = device(drop);
    let (bus, patience) = bus(&address, 200);
    let answered = bus.ask(1, read(7), patience).await;
    assert!(matches!(&answered, Err(Trouble::Lost(why)) if !why.contains("uccess")), "{answered:?}");
}

/// Between the agent and a machine, a server that takes what one read brings for one question, as simple ones do: the first
/// is all that it hears, or it finds that what came is no question and hears nothing.
fn hears_one_at_a_time(server: String, the_first: bool) -> String {
    device(move |mut client| {
        let server = TcpStream::connect(&server).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut to, mut from, mut back) = (server.try_clone().unwrap(), server, client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut back));
        let mut bytes = [0; 2048];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let first = frame(&mut &bytes[..count]).unwrap();
            if the_first || first.len() == count {
                to.write_all(&first).unwrap();
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    })
}

#[tokio::test]
async fn a_machine_that_hears_only_the_first_of_questions_asked_together_is_asked_one_by_one() {
    for (timeout_ms, the_first) in [(100, true), (500, true), (500, false)] {
        let (port, address) = serve("modbus-tcp", &setup(), Between::default());
        let address = hears_one_at_a_time(address.trim_start_matches("modbus-tcp://").to_owned(), the_first);
        let machine = machine(&address, profile(timeout_ms));
        let program = program(600, 7);
        let started = tokio::time::timeout(Duration::from_secs(20), run(&machine, &program)).await;
        let end = started.expect("it is asked together again and again");
        assert_eq!(end.job.as_ref().unwrap().phase, JobPhase::Finished, "{timeout_ms}: {:?}", end.notice);
        assert_eq!(port.report().unwrap().executed_lines.unwrap(), commands(&program));
    }
}

#[tokio::test]
async fn a_server_that_puts_unit_0_into_its_answers_was_told_to_check_its_parity() {
    // What was asked, what the server puts there, and whether that is an answer.
    for (asked, said, taken) in [(1, 0, true), (1, 255, true), (255, 1, true), (0, 0, true), (3, 2, false)] {
        let address = device(move |mut stream| {
            while let Some(question) = frame(&mut stream) {
                let mut answer = own_address(&question);
                answer[6] = said;
                stream.write_all(&answer).unwrap();
            }
        });
        let (bus, patience) = bus(&address, 500);
        let answered = bus.ask(asked, read(7), patience).await;
        assert_eq!(answered == Ok(vec![7]), taken, "{asked} {said}: {answered:?}");
        let to_do = answered.err().map_or("", |trouble| trouble.to_do());
        assert!(!to_do.contains("parity"), "{to_do}");
    }
}

#[tokio::test]
async fn a_device_that_said_that_it_is_busy_was_asked_again_in_the_same_millisecond() {
    let address = device(|mut stream| {
        let mut refused_at: Option<std::time::Instant> = None;
        while let Some(question) = frame(&mut stream) {
            // It needs 60 ms, and each question meanwhile makes it need them anew.
            let busy = refused_at.is_none_or(|at| at.elapsed() < Duration::from_millis(60));
            let refusal = [&question[..4], &[0, 3, question[6], 0x83, 6]].concat();
            refused_at = Some(std::time::Instant::now());
            stream.write_all(&if busy { refusal } else { own_address(&question) }).unwrap();
        }
    });
    let (bus, patience) = bus(&address, 500);
    let patience = Patience { retries: 2, ..patience };
    assert_eq!(bus.ask(1, read(9), patience).await, Ok(vec![9]));
}
