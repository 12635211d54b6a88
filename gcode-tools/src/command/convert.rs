//! `gcode-tools convert`: a program in another wrapping, whole or not at all.

use super::{DONE, open, print, refuse};
use clap::{Args, ValueEnum};
use gcode_tools::arcs::{self, Fitter};
use gcode_tools::convert::{Filter, Summary, Target};
use gcode_tools::formats::{self, Format, bgcode};
use gcode_tools::sniff::ReadError;
use serde_json::json;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 128 * 1024;

/// What `gcode-tools convert` is asked to do.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The program: plain text, gzip, bgcode, or G-code inside a 3MF.
    file: PathBuf,
    /// Where to write it. Its ending says how: .gcode .nc .ngc .tap .gco .g, .gz, .bgcode.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How to write it, whatever the name of OUT.
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Put it in the place of a file that is there.
    #[arg(long)]
    force: bool,
    /// With bgcode: how blocks of G-code are packed. PrusaSlicer's way unless said.
    #[arg(long, value_enum)]
    compression: Option<CompressionName>,
    /// With bgcode: how G-code is written in them. PrusaSlicer's way unless said.
    #[arg(long, value_enum)]
    encoding: Option<EncodingName>,
    /// With bgcode: what proves each block.
    #[arg(long, value_enum)]
    checksum: Option<ChecksumName>,
    /// Put arcs (G2, G3) in the place of short straight moves, never further from them than so many millimetres.
    #[arg(long, value_name = "TOLERANCE_MM", value_parser = tolerance)]
    arcs: Option<arcs::Setup>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The tolerance of `--arcs`.
fn tolerance(text: &str) -> Result<arcs::Setup, String> {
    let setup = text.parse().ok().and_then(arcs::Setup::new);
    setup.ok_or_else(|| {
        format!("say millimetres from {} to {}, such as 0.025", arcs::TOLERANCE_MIN_MM, arcs::TOLERANCE_MAX_MM)
    })
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatName {
    Plain,
    Gzip,
    Bgcode,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionName {
    None,
    Deflate,
    #[value(name = "heatshrink-11")]
    Heatshrink11,
    #[value(name = "heatshrink-12")]
    Heatshrink12,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EncodingName {
    /// Text.
    None,
    /// Without comments.
    Meatpack,
    /// With the comments that fill a line.
    MeatpackComments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChecksumName {
    None,
    Crc32,
}

impl Arguments {
    /// What OUT is to be.
    fn target(&self) -> Result<Target, ReadError> {
        let named = match self.format {
            Some(FormatName::Plain) => Some(Target::Plain),
            Some(FormatName::Gzip) => Some(Target::Gzip),
            Some(FormatName::Bgcode) => Some(Target::Bgcode(bgcode::Options::default())),
            None => Target::of_name(&self.output.to_string_lossy()),
        };
        let Some(target) = named else {
            let message = format!(
                "The ending of {} says nothing of how to write it. End it in .gcode, .nc, .ngc, .tap, .gco, .g, .gz or \
                 .bgcode, or say --format.",
                self.output.display()
            );
            return Err(ReadError::new("convert.unknown_ending", message));
        };
        let Target::Bgcode(mut options) = target else {
            if self.compression.is_some() || self.encoding.is_some() || self.checksum.is_some() {
                let message = "--compression, --encoding and --checksum are for bgcode only. Leave them out.";
                return Err(ReadError::new("convert.not_bgcode", message));
            }
            return Ok(target);
        };
        options.compression = match self.compression {
            Some(CompressionName::None) => bgcode::Compression::None,
            Some(CompressionName::Deflate) => bgcode::Compression::Deflate,
            Some(CompressionName::Heatshrink11) => bgcode::Compression::Heatshrink11,
            Some(CompressionName::Heatshrink12) => bgcode::Compression::Heatshrink12,
            None => options.compression,
        };
        options.encoding = match self.encoding {
            Some(EncodingName::None) => bgcode::Encoding::Plain,
            Some(EncodingName::Meatpack) => bgcode::Encoding::MeatPack,
            Some(EncodingName::MeatpackComments) => bgcode::Encoding::MeatPackComments,
            None => options.encoding,
        };
        options.checksums = self.checksum.map_or(options.checksums, |name| matches!(name, ChecksumName::Crc32));
        Ok(Target::Bgcode(options))
    }
}

/// `gcode-tools convert`.
pub(crate) fn convert(arguments: &Arguments) -> u8 {
    match arguments.target().and_then(|target| Ok((target, write(arguments, target)?))) {
        Ok((target, done)) => {
            print(&if arguments.json { done.json(target, arguments) } else { done.text(target, arguments) });
            DONE
        }
        Err(error) => refuse(error.code, &error.message, arguments.json),
    }
}

/// What was written.
struct Done {
    summary: Summary,
    arcs: Option<arcs::Summary>,
    bytes_in: u64,
    bytes_out: u64,
}

/// Writes beside OUT, and gives it its name when it is whole.
fn write(arguments: &Arguments, target: Target) -> Result<Done, ReadError> {
    let out = arguments.output.as_path();
    if !arguments.force && out.symlink_metadata().is_ok() {
        return Err(exists(out));
    }
    let input = open(&arguments.file)?;
    let bytes_in = input.metadata().map_err(|error| ReadError::from_io(&error))?.len();
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = beside(folder).map_err(|error| unwritable(out, &error))?;
    let mut fitter = arguments.arcs.as_ref().map(Fitter::new);
    let filter = fitter.as_mut().map(|fitter| fitter as &mut dyn Filter);
    let written = BufWriter::with_capacity(BUFFER_BYTES, unfinished.as_file_mut());
    let summary = gcode_tools::convert::convert(input, written, target, filter)?;
    let file = unfinished.as_file();
    file.sync_all().map_err(|error| unwritable(out, &error))?;
    let bytes_out = file.metadata().map_err(|error| unwritable(out, &error))?.len();
    if target != Target::Plain && summary.text_bytes > formats::unpacked_bytes_max(bytes_out) {
        let message = "It packs so small that whoever unpacks it takes it for a bomb. Keep it as plain text.";
        return Err(ReadError::new("convert.too_repetitive", message));
    }
    let kept = if arguments.force { unfinished.persist(out) } else { unfinished.persist_noclobber(out) };
    kept.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => unwritable(out, &error.error),
    })?;
    Ok(Done { summary, arcs: fitter.map(|fitter| fitter.summary()), bytes_in, bytes_out })
}

/// A file that is gone again unless it gets a name.
fn beside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gcode-tools-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What any new file gets; a temporary file by itself is for its owner only.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn exists(out: &Path) -> ReadError {
    let message = format!("{} is there already. Choose another name, or say --force to replace it.", out.display());
    ReadError::new("file.exists", message)
}

fn unwritable(out: &Path, error: &io::Error) -> ReadError {
    let message = format!("{} could not be written: {error}. Look for space and rights.", out.display());
    ReadError::new("file.unwritable", message)
}

impl Done {
    /// Bytes out by bytes in.
    fn ratio(&self) -> f64 {
        self.bytes_out as f64 / self.bytes_in.max(1) as f64
    }

    fn json(&self, target: Target, arguments: &Arguments) -> String {
        let Summary { from, lines, text_bytes, blocks, thumbnails } = self.summary;
        let mut value = json!({
            "file": arguments.file.to_string_lossy(),
            "output": arguments.output.to_string_lossy(),
            "from": name(from),
            "to": target.name(),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "ratio": (self.ratio() * 1e4).round() / 1e4,
            "text_bytes": text_bytes,
            "lines": lines,
            "blocks": blocks,
            "thumbnails": thumbnails,
        });
        if let (Some(arcs), Some(object)) = (self.arcs, value.as_object_mut()) {
            let of_arcs = json!({
                "count": arcs.arcs,
                "moves_replaced": arcs.moves_replaced,
                "deviation_mm": (arcs.deviation_mm * 1e6).round() / 1e6,
            });
            object.insert("arcs".to_owned(), of_arcs);
        }
        format!("{value:#}\n")
    }

    fn text(&self, target: Target, arguments: &Arguments) -> String {
        let Self { bytes_in, bytes_out, summary, .. } = self;
        let arcs = self.arcs.map(|arcs| {
            format!(
                "{} arcs for {} moves, at most {:.4} mm from them\n",
                arcs.arcs, arcs.moves_replaced, arcs.deviation_mm
            )
        });
        format!(
            "{} ({}, {bytes_in} bytes) to {} ({}, {bytes_out} bytes): {} lines, {:.3} of the size\n{}",
            arguments.file.display(),
            name(summary.from),
            arguments.output.display(),
            target.name(),
            summary.lines,
            self.ratio(),
            arcs.unwrap_or_default(),
        )
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Plain => "plain",
        Format::Gzip => "gzip",
        Format::Bgcode => "bgcode",
        Format::Archive => "archive",
    }
}
