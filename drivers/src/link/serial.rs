//! The serial link: any device path, any baud rate, opened for this program alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use serialport::{ClearBuffer, SerialPort as _, TTYPort};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::terminal::Terminal;
use super::{Address, Link, Opened, Opening, lost, refused};
use crate::dialect;
use crate::notice::Notice;

/// The serial link.
pub(super) struct Serial;

impl Link for Serial {
    fn serves(&self, port: &str) -> bool {
        !port.contains("://")
    }

    fn has_rate(&self) -> bool {
        true
    }

    fn open<'a>(&'a self, address: &'a Address) -> Opening<'a> {
        Box::pin(async move { open(address) })
    }
}

fn open(address: &Address) -> Result<Opened, Notice> {
    let (stream, may_reset) = open_stream(&address.port, address.baud)?;
    Ok(Opened { wire: Box::new(stream), may_reset })
}

/// An open line, and whether opening it may have reset the board.
fn open_stream(port: &str, baud: u32) -> Result<(Terminal, bool), Notice> {
    let metadata = std::fs::metadata(port).map_err(|error| refused(port, &error))?;
    if !metadata.file_type().is_char_device() {
        return Err(Notice::new(
            "link.not_a_port",
            format!("{port} is no serial port."),
            "Nothing was opened.",
            "`fab-agent ports` lists the ports there are.",
        ));
    }
    let bytes = without_blocking(port).map_err(|error| refused(port, &error))?;
    keep_dtr_on_close(&bytes).map_err(|error| refused(port, &error))?;
    // The builder's defaults: 8 data bits, no parity, 1 stop bit, no flow control, exclusive (TIOCEXCL and flock).
    let builder = serialport::new(port, baud);
    let mut settings = TTYPort::open(&builder).map_err(|error| refused(port, &os_error(error)))?;
    // A pseudo-terminal has no modem lines, and so no board behind it that DTR could reset.
    let may_reset = settings.read_data_set_ready().is_ok();
    let terminal = Terminal::new(settings, bytes).map_err(|error| refused(port, &error))?;
    Ok((terminal, may_reset))
}

/// See [`super::open_at_any`].
pub(super) async fn open_at_any(port: &str, bauds: &[u32], question: &str) -> Result<(Opened, u32), Notice> {
    let (mut stream, boots) = open_stream(port, bauds.first().copied().unwrap_or(DEFAULT_BAUD))?;
    if boots {
        // What it says while it boots shows who it is only at the right rate, which is most likely the first.
        if heard_somebody(&mut stream, BOOT).await? {
            return Ok((Opened { wire: Box::new(stream), may_reset: false }, bauds[0]));
        }
    }
    // A line end first: it ends what was half-said, at this rate or at a wrong one.
    let question = format!("\n{question}\n");
    for baud in bauds {
        stream.port().set_baud_rate(*baud).map_err(|error| refused(port, &os_error(error)))?;
        for _ in 0..TIMES_ASKED {
            let _ = stream.port().clear(ClearBuffer::Input);
            stream.write_all(question.as_bytes()).await.map_err(|error| lost(port, Some(&error)))?;
            if heard_somebody(&mut stream, ANSWER).await? {
                return Ok((Opened { wire: Box::new(stream), may_reset: false }, *baud));
            }
        }
    }
    Err(Notice::new(
        "link.no_baud",
        format!("Nobody on {port} answers at any of the rates {bauds:?}."),
        "Only questions were sent.",
        "Check that the machine is on; if it speaks at another rate, write that into the configuration.",
    ))
}

/// Whether something that a known firmware says is heard within a time.
async fn heard_somebody(stream: &mut Terminal, time: Duration) -> Result<bool, Notice> {
    let until = tokio::time::Instant::now() + time;
    let (mut heard, mut buffer) = (Vec::new(), [0_u8; 1024]);
    while let Ok(read) = tokio::time::timeout_at(until, stream.read(&mut buffer)).await {
        let count = read.map_err(|error| lost("the port", Some(&error)))?;
        if count == 0 {
            return Err(lost("the port", None));
        }
        // Only the end can be new; noise at a wrong rate is not kept.
        let kept = heard.len().saturating_sub(HEARD_KEPT);
        heard.drain(..kept);
        heard.extend_from_slice(&buffer[..count]);
        if heard.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| dialect::of_line(line).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rate a port is opened at where none is named.
const DEFAULT_BAUD: u32 = 115_200;

/// How long a board may take to boot after its port was opened.
const BOOT: Duration = Duration::from_secs(3);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(800);

/// Times the question is put at each rate: the first may be spoilt by what was said at a wrong rate before.
const TIMES_ASKED: u32 = 2;

/// Bytes kept of what was heard: more than the longest line that shows who speaks.
const HEARD_KEPT: usize = 2048;

/// The link in `folder` that leads to the same device as `port`, unless `port` is a link itself.
pub(super) fn lasting_name(port: &Path, folder: &Path) -> Option<String> {
    if port.is_symlink() {
        return None;
    }
    let device = port.canonicalize().ok()?;
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.canonicalize().is_ok_and(|leads_to| leads_to == device))
        .filter_map(|path| path.to_str().map(str::to_owned))
        .collect();
    // Where udev makes two, with and without the bus's name, either will do; the same one each time is better.
    names.sort();
    names.into_iter().next()
}

/// Opens the port for its bytes, before the lock that keeps others out.
fn without_blocking(port: &str) -> io::Result<File> {
    let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
    File::options().read(true).write(true).custom_flags(flags).open(port)
}

/// Tells the driver to leave DTR alone when the port is closed. Boards that are reset by DTR are then reset by the
/// first opening only, and not by every one: the kernel raises DTR on opening whatever is asked, but a line that is
/// up already does not move.
fn keep_dtr_on_close(port: &File) -> io::Result<()> {
    let mut settings = tcgetattr(port)?;
    settings.control_flags.remove(ControlFlags::HUPCL);
    tcsetattr(port, SetArg::TCSANOW, &settings)?;
    Ok(())
}

/// The operating system's error behind the library's.
fn os_error(error: serialport::Error) -> io::Error {
    match error.kind() {
        serialport::ErrorKind::NoDevice if error.description.to_lowercase().contains("busy") => {
            io::Error::from(io::ErrorKind::ResourceBusy)
        }
        serialport::ErrorKind::NoDevice if error.description.to_lowercase().contains("lock") => {
            io::Error::from(io::ErrorKind::ResourceBusy)
        }
        serialport::ErrorKind::Io(kind) => io::Error::new(kind, error.description),
        _ => io::Error::other(error.description),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_port_is_found_again_by_its_socket_and_not_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let by_path = folder.path().join("by-path");
        std::fs::create_dir(&by_path).unwrap();
        let device = folder.path().join("ttyUSB0");
        std::fs::write(&device, "").unwrap();
        std::fs::write(folder.path().join("ttyUSB1"), "").unwrap();
        assert_eq!(lasting_name(&device, &by_path), None, "it has no such name");
        let socket = by_path.join("pci-0000:01:00.0-usb-0:1.1:1.0");
        std::os::unix::fs::symlink(&device, &socket).unwrap();
        std::os::unix::fs::symlink(folder.path().join("ttyUSB1"), by_path.join("another")).unwrap();
        assert_eq!(lasting_name(&device, &by_path).as_deref(), socket.to_str());
        assert_eq!(lasting_name(&socket, &by_path), None, "it is called so already");
    }
}
