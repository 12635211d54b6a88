//! A broker of a few lines, for what no Mosquitto can be made to do: it answers as it is told, byte by byte (MQTT 5).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Packets that may wait for the test to look at them.
const PACKETS_MAX: usize = 100_000;

/// What it heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect(Vec<u8>),
    Publish { topic: String, bytes: usize, number: u16, retain: bool },
    Ping,
    Other(u8),
    End,
}

/// What it does with a message: the reason of its PUBACK, or the end of the connection, without a word or with a reason.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Reason(u8),
    Disconnect(u8),
    Close,
}

/// A broker that welcomes with these properties and answers messages so. Each connection's packets, with its number.
pub(crate) fn broker(
    properties: &'static [u8],
    answer: impl Fn(&str) -> Answer + Send + 'static,
) -> (u16, Receiver<(usize, Packet)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, heard) = sync_channel(PACKETS_MAX);
    std::thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            loop {
                let packet = read(&mut stream);
                let over = packet == Packet::End;
                let answered = match &packet {
                    Packet::Connect(_) => {
                        let mut welcome = vec![0x20, 3 + properties.len() as u8, 0, 0, properties.len() as u8];
                        welcome.extend_from_slice(properties);
                        stream.write_all(&welcome).is_ok()
                    }
                    Packet::Publish { topic, number, .. } if *number > 0 => match answer(topic) {
                        Answer::Reason(reason) => {
                            let [high, low] = number.to_be_bytes();
                            stream.write_all(&[0x40, 3, high, low, reason]).is_ok()
                        }
                        Answer::Close => false,
                        Answer::Disconnect(reason) => stream.write_all(&[0xe0, 2, reason, 0]).is_err(),
                    },
                    Packet::Ping => stream.write_all(&[0xd0, 0]).is_ok(),
                    _ => true,
                };
                if send.send((connection, packet)).is_err() {
                    return;
                }
                if over || !answered {
                    break;
                }
            }
        }
    });
    (port, heard)
}

fn read(stream: &mut TcpStream) -> Packet {
    let mut first = [0];
    if stream.read_exact(&mut first).is_err() {
        return Packet::End;
    }
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return Packet::End;
        }
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).is_err() {
        return Packet::End;
    }
    match first[0] >> 4 {
        1 => Packet::Connect(body),
        3 => {
            let topic_bytes = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + topic_bytes].to_vec()).unwrap();
            let acknowledged = first[0] & 0x06 != 0;
            let number =
                if acknowledged { u16::from_be_bytes([body[2 + topic_bytes], body[3 + topic_bytes]]) } else { 0 };
            Packet::Publish { topic, bytes: 2 + length, number, retain: first[0] & 1 == 1 }
        }
        12 => Packet::Ping,
        kind => Packet::Other(kind),
    }
}
