//! What goes in comes out, in any wrapping, and what cannot is refused by name.

use super::*;
use std::io::Cursor;

const TEXT: &[u8] = b"; a program\r\nG21\rG90\n\nG1 X10 Y20.5 E.5 F600 ; go\nM84";

fn converted(input: &[u8], target: Target) -> (Vec<u8>, Summary) {
    let mut out = Vec::new();
    let summary = convert(Cursor::new(input), &mut out, target, None).unwrap();
    (out, summary)
}

fn refusal(input: &[u8], target: Target) -> ReadError {
    convert(Cursor::new(input), io::sink(), target, None).unwrap_err()
}

fn bgcode(encoding: bgcode::Encoding) -> Target {
    Target::Bgcode(bgcode::Options { encoding, ..bgcode::Options::default() })
}

#[test]
fn plain_text_and_gzip_keep_every_byte() {
    let (packed, summary) = converted(TEXT, Target::Gzip);
    assert_eq!((summary.from, summary.lines, summary.text_bytes), (Format::Plain, 6, TEXT.len() as u64));
    let (back, summary) = converted(&packed, Target::Plain);
    assert_eq!((summary.from, summary.lines), (Format::Gzip, 6));
    assert_eq!(back, TEXT);
}

#[test]
fn lines_are_counted_alike_however_the_text_comes() {
    for text in [&b""[..], b"a", b"a\n", b"\n\r\r\n\n", b"a\r\nb\rc\n\r", b"\r", b"\r\n\r\n"] {
        for cut in 0..=text.len() {
            let mut count = Count::default();
            count.take(&text[..cut]);
            count.take(&text[cut..]);
            let mut lines = Lines::new(text);
            let mut expected = 0;
            while let Some(line) = lines.next_line().unwrap() {
                expected = line.number;
            }
            assert_eq!(count.lines(), expected, "{text:?} cut at {cut}");
        }
    }
}

#[test]
fn a_bgcode_keeps_every_command() {
    for (encoding, expected) in [
        (bgcode::Encoding::Plain, "; a program\nG21\nG90\nG1 X10 Y20.5 E.5 F600 ; go\nM84\n"),
        (bgcode::Encoding::MeatPack, "G21\nG90\nG1 X10 Y20.5 E.5 F600\nM84\n"),
        (bgcode::Encoding::MeatPackComments, "; a program\nG21\nG90\nG1 X10 Y20.5 E.5 F600\nM84\n"),
    ] {
        let (packed, summary) = converted(TEXT, bgcode(encoding));
        assert_eq!((summary.lines, summary.blocks), (6, 4));
        assert_eq!(String::from_utf8(converted(&packed, Target::Plain).0).unwrap(), expected);
    }
}

#[test]
fn what_is_no_program_or_damaged_is_refused() {
    for target in [Target::Plain, Target::Gzip, bgcode(bgcode::Encoding::Plain)] {
        assert_eq!(refusal(b"\x89PNG\r\n\x1a\n", target).code, "file.not_gcode");
        assert_eq!(refusal(b"", target).code, "file.empty");
        let (mut packed, _) = converted(&TEXT.repeat(50), Target::Gzip);
        packed.truncate(packed.len() - 9);
        assert_eq!(refusal(&packed, target).code, "file.truncated");
    }
    assert_eq!(refusal(b"; nothing\n\n", bgcode(bgcode::Encoding::MeatPack)).code, "file.empty");
}

#[test]
fn a_line_longer_than_a_block_is_refused_with_its_number() {
    let text = [b"G21\nM117 ".as_slice(), &vec![b'x'; bgcode::TEXT_BYTES_MAX], b"\nM2\n"].concat();
    let error = refusal(&text, bgcode(bgcode::Encoding::Plain));
    assert_eq!(error.code, "convert.line_too_long");
    assert!(error.message.starts_with("Line 2 has 65541 bytes"), "{}", error.message);
    assert_eq!(converted(&text, Target::Plain).0, text);
}

#[test]
fn an_output_that_fails_is_told_from_an_input_that_fails() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for target in [Target::Plain, Target::Gzip, bgcode(bgcode::Encoding::Plain)] {
        assert_eq!(convert(Cursor::new(TEXT), Full, target, None).unwrap_err().code, "file.unwritable");
    }
}

/// Holds back what it was given until more comes, and then gives it twice as much space at the line ends.
struct Later(Vec<u8>);

impl Filter for Later {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.finish(out);
        self.0 = bytes.to_vec();
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        for byte in self.0.drain(..) {
            out.extend_from_slice(if byte == b'\n' { b" \n" } else { std::slice::from_ref(&byte) });
        }
    }
}

#[test]
fn a_filter_sees_every_byte_and_may_answer_late() {
    for target in [Target::Plain, Target::Gzip, bgcode(bgcode::Encoding::Plain)] {
        let mut out = Vec::new();
        convert(Cursor::new(b"G28\nG1 X1\n"), &mut out, target, Some(&mut Later(Vec::new()))).unwrap();
        assert_eq!(converted(&out, Target::Plain).0, b"G28 \nG1 X1 \n", "{target:?}");
    }
}
