//! The simulated machine's process: a machine on a pseudo-terminal until standard input ends, then its report.

use std::io::Read as _;
use std::time::Duration;

use drivers::sim::port::{Between, Port};
use drivers::sim::{LineSpeed, Setup, simulated};

/// Arguments: dialect, baud (0 is no limit), one-way latency in microseconds, how many times faster than real it
/// moves (`inf`: motion takes no time).
pub(crate) fn run(arguments: &[&str]) {
    let [dialect, baud, latency_us, speed] = arguments else { panic!("{arguments:?}") };
    let setup = Setup { speed: speed.parse().unwrap(), ..Setup::default() };
    let latency = Duration::from_micros(latency_us.parse().unwrap());
    let between = Between { speed: LineSpeed { baud: baud.parse().unwrap(), latency }, ..Between::default() };
    let port = Port::on_pty(simulated(dialect, &setup).unwrap(), between, None).unwrap();
    println!("{}", port.address());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    println!("{}", serde_json::to_string(&port.report().unwrap()).unwrap());
}
