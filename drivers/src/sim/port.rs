//! Puts a simulated machine on a real pseudo-terminal or TCP port, on a thread of its own, in real time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::{Faults, Line, LineSpeed, Report, Simulated};
use crate::moment::Moment;

/// Longest wait between two looks at whether the simulation is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// Hosts that may be connected to one TCP port at the same time, as many as small PLCs serve.
const HOSTS_MAX: usize = 4;

/// The line between the port and the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Between {
    /// Baud rate and latency.
    pub speed: LineSpeed,
    /// What goes wrong.
    pub faults: Faults,
    /// Seed of what goes wrong.
    pub seed: u64,
    /// The rate the machine speaks at: what a host says and hears at another is garbage. Absent: any will do.
    pub machine_baud: Option<u32>,
}

/// A simulated machine on a port. Dropping it ends the simulation.
#[derive(Debug)]
pub struct Port {
    address: String,
    link: Option<PathBuf>,
    asks: mpsc::SyncSender<Ask>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Ask {
    Report(mpsc::SyncSender<Report>),
    Reset,
    End,
}

impl Port {
    /// Puts a machine on a new pseudo-terminal; `link` becomes a symbolic link to it.
    ///
    /// # Errors
    /// No pseudo-terminal could be had, or something that is no symbolic link stands at `link`.
    pub fn on_pty(machine: Box<dyn Simulated>, between: Between, link: Option<&Path>) -> io::Result<Self> {
        let pair = openpty(None, None)?;
        // A program that the owner of this port starts must not keep the machine plugged in.
        for descriptor in [&pair.master, &pair.slave] {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let mut settings = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
        let name = nix::unistd::ttyname(&pair.slave)?;
        if let Some(link) = link {
            if link.is_symlink() {
                std::fs::remove_file(link)?;
            }
            std::os::unix::fs::symlink(&name, link)?;
        }
        let master = File::from(pair.master);
        // The machine's own end of the slave stays open, so that it lives on when a host closes the port.
        let far_end = pair.slave;
        Self::start(machine, between, name.display().to_string(), link.map(Path::to_owned), move |simulation| {
            let _keep = &far_end;
            simulation.serve(&mut (&master), &mut (&master), master.as_fd());
        })
    }

    /// Puts a machine on a TCP port; one host at a time.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn on_tcp(machine: Box<dyn Simulated>, between: Between, listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = format!("tcp://{}", listener.local_addr()?);
        Self::start(machine, between, address, None, move |simulation| {
            while simulation.goes_on {
                match listener.accept() {
                    Ok((stream, _)) => simulation.serve_stream(&stream),
                    Err(_) => simulation.idle(listener.as_fd()),
                }
            }
        })
    }

    /// Puts devices on a TCP port that up to four hosts may ask in turn, as Modbus devices are: what they say
    /// goes to whoever asked last.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn on_shared_tcp(machine: Box<dyn Simulated>, between: Between, listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = format!("tcp://{}", listener.local_addr()?);
        Self::start(machine, between, address, None, move |simulation| simulation.serve_hosts(&listener))
    }

    fn start(
        machine: Box<dyn Simulated>,
        between: Between,
        address: String,
        link: Option<PathBuf>,
        serve: impl FnOnce(&mut Simulation) + Send + 'static,
    ) -> io::Result<Self> {
        let (asks, asked) = mpsc::sync_channel(4);
        let thread = std::thread::Builder::new().name("simulation".to_owned()).spawn(move || {
            serve(&mut Simulation::new(machine, between, asked));
        })?;
        Ok(Self { address, link, asks, thread: Some(thread) })
    }

    /// The path or URL of the port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the machine did so far. Nothing once the simulation has ended.
    pub fn report(&self) -> Option<Report> {
        let (give, given) = mpsc::sync_channel(1);
        self.asks.send(Ask::Report(give)).ok()?;
        given.recv().ok()
    }

    /// Presses the board's reset button.
    pub fn reset(&self) {
        // A simulation that has ended has nothing to reset.
        let _ = self.asks.send(Ask::Reset);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(link) = &self.link {
            let _ = std::fs::remove_file(link);
        }
    }
}

/// What bytes become at a wrong rate: nothing anybody says.
fn garble(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = (*byte).rotate_left(3) | 0x81;
    }
}

/// The running simulation.
struct Simulation {
    machine: Box<dyn Simulated>,
    asked: mpsc::Receiver<Ask>,
    started: Instant,
    to_machine: Line,
    to_host: Line,
    /// The rate the machine speaks at, and whether the host has it.
    machine_baud: Option<u32>,
    /// Whether bytes go straight through, without a modelled line between.
    direct: bool,
    outbox: Vec<u8>,
    goes_on: bool,
}

impl Simulation {
    fn new(machine: Box<dyn Simulated>, between: Between, asked: mpsc::Receiver<Ask>) -> Self {
        let outward = between.faults.of_bytes();
        #[expect(clippy::disallowed_methods, reason = "a port runs in real time")]
        let started = Instant::now();
        Self {
            machine,
            asked,
            started,
            to_machine: Line::new(between.speed, outward, between.seed),
            to_host: Line::new(between.speed, between.faults, between.seed.wrapping_add(1)),
            direct: between.speed == LineSpeed::default() && !between.faults.any(),
            machine_baud: between.machine_baud,
            outbox: Vec::new(),
            goes_on: true,
        }
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.started.elapsed()
    }

    fn serve_stream(&mut self, stream: &TcpStream) {
        if stream.set_nodelay(true).is_ok() {
            let (mut reader, mut writer) = (stream, stream);
            self.serve(&mut reader, &mut writer, stream.as_fd());
        }
    }

    /// Serves one host until it is gone or the simulation ends.
    fn serve(&mut self, reader: &mut dyn Read, writer: &mut dyn Write, descriptor: BorrowedFd<'_>) {
        let mut heard = [0_u8; READ_BYTES];
        while self.goes_on {
            self.answer_asks();
            self.pass_time();
            let garbled = self.is_garbled(descriptor);
            if !self.outbox.is_empty() {
                if garbled {
                    garble(&mut self.outbox);
                }
                if writer.write_all(&self.outbox).is_err() {
                    return;
                }
                self.outbox.clear();
            }
            if !self.wait(descriptor) {
                continue;
            }
            match reader.read(&mut heard) {
                Ok(0) => return,
                Ok(count) => {
                    if self.is_garbled(descriptor) {
                        garble(&mut heard[..count]);
                    }
                    self.heard(&heard[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Serves whoever comes until the simulation ends, one question at a time.
    fn serve_hosts(&mut self, listener: &TcpListener) {
        let mut hosts: Vec<TcpStream> = Vec::new();
        let mut asker = 0;
        let mut heard = [0_u8; READ_BYTES];
        while self.goes_on {
            self.answer_asks();
            self.pass_time();
            if let Some(mut host) = hosts.get(asker) {
                // A host that is gone is noticed when it is read.
                let _ = host.write_all(&self.outbox);
            }
            self.outbox.clear();
            let descriptors: Vec<_> = hosts.iter().map(AsFd::as_fd).chain([listener.as_fd()]).collect();
            let Some(ready) = self.wait_any(&descriptors) else { continue };
            let Some(mut host) = hosts.get(ready) else {
                if let Ok((host, _)) = listener.accept() {
                    if hosts.len() < HOSTS_MAX && host.set_nodelay(true).is_ok() {
                        hosts.push(host);
                    }
                }
                continue;
            };
            match host.read(&mut heard) {
                Ok(count) if count > 0 => {
                    asker = ready;
                    self.heard(&heard[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    hosts.remove(ready);
                    asker = HOSTS_MAX;
                }
            }
        }
    }

    /// Whether the host has set the port to another rate than the machine's.
    fn is_garbled(&self, descriptor: BorrowedFd<'_>) -> bool {
        let Some(baud) = self.machine_baud else { return false };
        rustix::termios::tcgetattr(descriptor).is_ok_and(|settings| settings.output_speed() != baud)
    }

    fn heard(&mut self, bytes: &[u8]) {
        let now = self.now();
        if self.direct {
            self.machine.hear(now, bytes);
        } else {
            self.to_machine.send(now, bytes);
        }
    }

    fn pass_time(&mut self) {
        let now = self.now();
        if self.direct {
            self.machine.advance(now);
            return self.machine.say(&mut self.outbox);
        }
        let mut bytes = Vec::new();
        self.to_machine.receive(now, &mut bytes);
        self.machine.hear(now, &bytes);
        bytes.clear();
        self.machine.say(&mut bytes);
        self.to_host.send(now, &bytes);
        self.to_host.receive(now, &mut self.outbox);
    }

    /// Waits for bytes, or for the next thing that happens by itself. True if there are bytes.
    fn wait(&self, descriptor: BorrowedFd<'_>) -> bool {
        self.wait_any(&[descriptor]).is_some()
    }

    /// As [`Self::wait`], for the first of several that has bytes.
    fn wait_any(&self, descriptors: &[BorrowedFd<'_>]) -> Option<usize> {
        let wakes = [self.machine.wakes_at(), self.to_machine.wakes_at(), self.to_host.wakes_at()];
        let until = wakes.into_iter().flatten().min().map_or(LOOK_EVERY, |at| at.since(self.now()).min(LOOK_EVERY));
        let timeout = PollTimeout::try_from(until).unwrap_or(PollTimeout::ZERO);
        let mut polled: Vec<_> = descriptors.iter().map(|it| PollFd::new(*it, PollFlags::POLLIN)).collect();
        let ready = matches!(poll(&mut polled, timeout), Ok(ready) if ready > 0);
        // The system call counts milliseconds: what is nearer is slept for, and only then looked at again.
        if !ready && until < Duration::from_millis(1) && until > Duration::ZERO {
            #[expect(clippy::disallowed_methods, reason = "a port runs in real time")]
            std::thread::sleep(until);
        }
        polled.iter().position(|it| ready && it.any().unwrap_or(false))
    }

    /// Time without a host.
    fn idle(&mut self, descriptor: BorrowedFd<'_>) {
        self.answer_asks();
        self.pass_time();
        self.outbox.clear();
        self.wait(descriptor);
    }

    fn answer_asks(&mut self) {
        loop {
            match self.asked.try_recv() {
                Ok(Ask::Report(give)) => {
                    let _ = give.send(self.machine.report());
                }
                Ok(Ask::Reset) => self.machine.reset(self.now()),
                Ok(Ask::End) | Err(mpsc::TryRecvError::Disconnected) => {
                    self.goes_on = false;
                    return;
                }
                Err(mpsc::TryRecvError::Empty) => return,
            }
        }
    }
}
