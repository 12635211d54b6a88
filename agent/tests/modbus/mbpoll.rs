//! `mbpoll` (libmodbus) as another master on our simulator, over TCP and over a serial line: what one of the two writes the
//! other reads, in every type and order.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::served::Served;
use super::{modbus, out, simulator_on};

/// A simulator that two masters ask in turn.
struct Line {
    served: Served,
    options: Vec<String>,
    /// What mbpoll calls the place.
    place: String,
}

impl Line {
    fn new(kind: &str, home: &Path) -> Self {
        if kind == "tcp" {
            let served = simulator_on(&["--tcp", "127.0.0.1:0"]);
            let port = served.address.rsplit(':').next().unwrap().to_owned();
            return Self {
                served,
                options: ["-m", "tcp", "-p", &port].map(str::to_owned).to_vec(),
                place: "127.0.0.1".into(),
            };
        }
        let place = home.join("line").display().to_string();
        let served = simulator_on(&["--pty", &place]);
        Self { served, options: ["-m", "rtu", "-b", "19200", "-P", "none"].map(str::to_owned).to_vec(), place }
    }

    /// What mbpoll says of a question with these options; with values it writes them.
    fn theirs(&self, options: &[&str], values: &[&str]) -> String {
        let mut command = Command::new("mbpoll");
        command.args(&self.options).args(["-0", "-1", "-q"]).args(options).arg(&self.place);
        if !values.is_empty() {
            command.arg("--").args(values);
        }
        let output = command.output().expect("mbpoll is not installed: run ./check");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Writes with mbpoll.
    fn they_write(&self, options: &[&str], values: &[&str]) {
        let said = self.theirs(options, values);
        assert!(said.contains(&format!("Written {}", values.len())), "{options:?} {values:?}: {said}");
    }

    /// Our hand tool.
    fn ours(&self, arguments: &[&str]) -> Output {
        modbus(&self.served.address, arguments)
    }

    /// The first value that our hand tool reads.
    fn we_read(&self, place: &[&str]) -> Value {
        let read = self.ours(&[&["read"], place, &["--json"]].concat());
        let document: Value = serde_json::from_str(&out(&read)).unwrap_or_else(|_| panic!("{place:?}: {read:?}"));
        document["values"][0]["value"].clone()
    }

    fn we_write(&self, place: &[&str], value: &str) {
        let wrote = self.ours(&[&["write"], place, &["--value", value]].concat());
        assert_eq!(wrote.status.code(), Some(0), "{place:?} {value}: {wrote:?}");
    }
}

/// On TCP and on a serial line.
fn on_each_line(check: impl Fn(&Line)) {
    let home = tempfile::tempdir().unwrap();
    for kind in ["tcp", "rtu"] {
        check(&Line::new(kind, home.path()));
    }
}

/// The registers of a value, from its bytes with the highest first, in the order that the letters say.
fn registers(bytes: &[u8], order: &str) -> Vec<String> {
    let place = |letter: u8| usize::from(letter - b'a');
    let ordered: Vec<u8> = match bytes.len() {
        2 if order == "badc" => vec![bytes[1], bytes[0]],
        2 => bytes.to_vec(),
        _ => order.bytes().map(|letter| bytes[place(letter)]).collect(),
    };
    ordered.chunks(2).map(|word| format!("0x{:02X}{:02X}", word[0], word[1])).collect()
}

#[test]
fn every_type_and_order_agrees_with_mbpoll_in_both_directions_over_tcp_and_over_a_serial_line() {
    let values: [(&str, &str, Vec<u8>); 10] = [
        ("u16", "54321", 54_321_u16.to_be_bytes().into()),
        ("u16", "7", 7_u16.to_be_bytes().into()),
        ("i16", "-4321", (-4_321_i16).to_be_bytes().into()),
        ("i16", "32767", 32_767_i16.to_be_bytes().into()),
        ("u32", "3000000001", 3_000_000_001_u32.to_be_bytes().into()),
        ("u32", "65537", 65_537_u32.to_be_bytes().into()),
        ("i32", "-2000000001", (-2_000_000_001_i32).to_be_bytes().into()),
        ("i32", "1234567", 1_234_567_i32.to_be_bytes().into()),
        ("f32", "1234.5625", 1_234.562_5_f32.to_be_bytes().into()),
        ("f32", "-0.375", (-0.375_f32).to_be_bytes().into()),
    ];
    on_each_line(|line| {
        for (form, value, bytes) in &values {
            let orders: &[&str] = if bytes.len() == 2 { &["abcd", "badc"] } else { &["abcd", "cdab", "badc", "dcba"] };
            for order in orders {
                // A place in the machine's slots, which are free while no session is open.
                let place = ["--unit", "1", "--at", "900", "--type", form, "--order", order];
                let words = registers(bytes, order);
                let hex: Vec<&str> = words.iter().map(String::as_str).collect();
                let count = words.len().to_string();
                let options = ["-a", "1", "-t", "4:hex", "-r", "900"];
                line.they_write(&options, &["0x5555"].repeat(words.len()));
                line.we_write(&place, value);
                let read = line.theirs(&[&options[..], &["-c", &count]].concat(), &[]);
                let read: Vec<_> = read.split_whitespace().filter(|word| word.starts_with("0x")).collect();
                assert_eq!(read, hex, "{form} {order} {value}");
                line.they_write(&options, &["0x5555"].repeat(words.len()));
                line.they_write(&options, &hex);
                assert_eq!(line.we_read(&place), value.parse::<f64>().unwrap(), "{form} {order}");
            }
        }
    });
}

#[test]
fn numbers_as_mbpoll_itself_reads_and_writes_them_are_ours() {
    // Its -B puts the high word first.
    let cases = [("4:int", "i32", "-1234567"), ("4:float", "f32", "-0.75"), ("4:int", "u32", "1234567")];
    on_each_line(|line| {
        for (theirs, form, value) in cases {
            for (order, high_first) in [("abcd", &["-B"][..]), ("cdab", &[])] {
                let options = [&["-a", "1", "-t", theirs, "-r", "900"], high_first].concat();
                let place = ["--unit", "1", "--at", "900", "--type", form, "--order", order];
                line.they_write(&options, &[value]);
                let wanted: f64 = value.parse().unwrap();
                assert_eq!(line.we_read(&place), wanted, "{theirs} {order}");
                let doubled = (wanted * 2.0).to_string();
                line.we_write(&place, &doubled);
                let read = line.theirs(&options, &[]);
                assert!(read.contains(&doubled), "{form} {order}: {doubled} written, {read}");
            }
        }
    });
}

#[test]
fn texts_coils_and_input_registers_are_the_same_to_mbpoll_and_refusals_have_one_name() {
    on_each_line(|line| {
        line.they_write(&["-a", "1", "-t", "4:hex", "-r", "900"], &["0x4142", "0x3720", "0x0000"]);
        let text = line.we_read(&["--unit", "1", "--at", "900", "--type", "ascii", "--registers", "3"]);
        assert_eq!(text, "AB7", "the line's end is cut");
        let volts = line.theirs(&["-a", "3", "-t", "3:float", "-B", "-r", "0"], &[]);
        assert!(volts.contains("230"), "{volts}");
        assert_eq!(line.we_read(&["--unit", "3", "--table", "input", "--type", "f32"]), 230.0);
        // The controller's stop, which is not reset by itself.
        let coil = ["--unit", "4", "--table", "coil", "--at", "1"];
        for (theirs, value) in [("1", 1), ("0", 0)] {
            line.they_write(&["-a", "4", "-t", "0", "-r", "1"], &[theirs]);
            assert_eq!(line.we_read(&coil), value);
        }
        line.we_write(&coil, "1");
        let read = line.theirs(&["-a", "4", "-t", "0", "-r", "1"], &[]);
        assert!(read.lines().any(|line| line.starts_with("[1]") && line.ends_with('1')), "{read}");
        line.we_write(&coil, "0");
        for (table, theirs, unit, at, name, code) in [
            ("discrete", "1", "1", "0", "Illegal function", "[modbus.illegal_function]"),
            ("holding", "4", "2", "500", "Illegal data address", "[modbus.illegal_address]"),
        ] {
            let said = line.theirs(&["-a", unit, "-t", theirs, "-r", at], &[]);
            assert!(said.contains(name), "{said}");
            let said = line.ours(&["read", "--unit", unit, "--table", table, "--at", at]);
            assert!(String::from_utf8_lossy(&said.stderr).contains(code), "{said:?}");
        }
    });
}

#[test]
fn a_value_that_the_device_does_not_take_is_refused_by_name_and_unit_0_is_no_device_on_a_serial_line() {
    on_each_line(|line| {
        line.we_write(&["--unit", "2", "--at", "1", "--scale", "0.01"], "250");
        let theirs = line.theirs(&["-a", "2", "-t", "4", "-r", "1"], &[]);
        assert!(theirs.contains("25000"), "{theirs}");
        let ours = line.ours(&["write", "--unit", "2", "--at", "1", "--value", "-1", "--type", "i16"]);
        assert_eq!(ours.status.code(), Some(1), "the drive takes 0 to 40000: {ours:?}");
        assert!(String::from_utf8_lossy(&ours.stderr).contains("[modbus.illegal_value]"), "{ours:?}");
        // Unit 0 is everybody on a serial line, and a hand tool writes to one device; over TCP it is the server itself.
        let unit_0 = line.ours(&["read", "--unit", "0", "--at", "0"]);
        let over_tcp = line.served.address.starts_with("modbus-tcp");
        assert_eq!(unit_0.status.code(), Some(if over_tcp { 0 } else { 2 }), "{unit_0:?}");
    });
}
