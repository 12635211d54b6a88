//! Chance from the system.

use std::io;

/// Chance that nobody can guess.
///
/// # Errors
/// The system gives none: nothing secret can be made then.
pub(crate) fn chance<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod test {
    use super::chance;

    #[test]
    fn chance_comes_never_twice() {
        assert!(chance::<32>().unwrap() != chance::<32>().unwrap());
    }
}
