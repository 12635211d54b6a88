//! Small text files that people or the system put somewhere, read whole and within a bound.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The text of a file.
///
/// # Errors
/// It is not there, cannot be read, is no text, or is longer than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_a_device_without_end_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(read(&path, 7).unwrap(), "secret\n");
        assert_eq!(read(&path, 6).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(Path::new("/dev/zero"), 1000).is_err());
    }
}
