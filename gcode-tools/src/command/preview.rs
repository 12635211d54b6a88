//! `gcode-tools preview`: a program in, a picture out.

use super::{DONE, FAILED, UNREADABLE, complain, open, print, profile, refuse};
use clap::{Args, ValueEnum};
use gcode_tools::formats;
use gcode_tools::preview::{By, Options, PreviewError, WIDTH_PX, draw};
use serde_json::json;
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// What a picture is made of, and how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The program.
    file: PathBuf,
    /// The picture: a path that ends in .svg or .png.
    #[arg(short, long)]
    output: PathBuf,
    /// The machine: the name of a bundled profile, or the path of a TOML file. Its travel is drawn around the work.
    #[arg(long)]
    profile: Option<String>,
    /// One layer alone, counted from 1, the lowest.
    #[arg(long, conflicts_with = "layers", value_parser = clap::value_parser!(u32).range(1..))]
    layer: Option<u32>,
    /// Layers from one to another, such as 10..20.
    #[arg(long, value_parser = layers)]
    layers: Option<RangeInclusive<u32>>,
    /// What moves are told apart by. Without it: what suits the program.
    #[arg(long)]
    by: Option<Told>,
    /// Width of the picture in pixels.
    #[arg(long, default_value_t = 960, value_parser = clap::value_parser!(u32).range(i64::from(*WIDTH_PX.start())..=i64::from(*WIDTH_PX.end())))]
    width: u32,
    /// Draw travel, too.
    #[arg(long)]
    travel: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What moves are told apart by.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Told {
    /// What the slicer calls the parts of a print.
    Feature,
    /// Height or depth.
    Layer,
    /// Work or travel; of a laser's work the power.
    Kind,
    /// The tool in use.
    Tool,
}

impl From<Told> for By {
    fn from(told: Told) -> Self {
        match told {
            Told::Feature => Self::Feature,
            Told::Layer => Self::Layer,
            Told::Kind => Self::Kind,
            Told::Tool => Self::Tool,
        }
    }
}

fn name_of(by: By) -> &'static str {
    match by {
        By::Feature => "feature",
        By::Layer => "layer",
        By::Kind => "kind",
        By::Tool => "tool",
    }
}

fn layers(text: &str) -> Result<RangeInclusive<u32>, String> {
    let ends = text.split_once("..").map(|(first, last)| (first.parse(), last.parse()));
    match ends {
        Some((Ok(first), Ok(last))) if 1 <= first && first <= last => Ok(first..=last),
        _ => Err("give the first and the last layer, counted from 1, as in 10..20".to_owned()),
    }
}

/// Whether a path asks for an SVG or for a PNG.
fn is_svg(extension: Option<&OsStr>) -> Option<bool> {
    match extension?.to_str()?.to_ascii_lowercase().as_str() {
        "svg" => Some(true),
        "png" => Some(false),
        _ => None,
    }
}

/// `gcode-tools preview`.
pub(crate) fn preview(arguments: &Arguments) -> u8 {
    let as_json = arguments.json;
    let Some(as_svg) = is_svg(arguments.output.extension()) else {
        let message = "The picture's name must end in .svg or .png. Nothing was drawn.";
        return refuse("preview.format", message, as_json);
    };
    let profile = match arguments.profile.as_deref().map(profile).transpose() {
        Ok(profile) => profile,
        Err((code, message)) => return refuse(&code, &message, as_json),
    };
    let title = arguments.file.file_name().unwrap_or_default().to_string_lossy();
    let options = Options {
        profile: profile.as_ref(),
        layers: arguments.layer.map(|layer| layer..=layer).or_else(|| arguments.layers.clone()),
        by: arguments.by.map(By::from),
        width_px: arguments.width,
        travel: arguments.travel.then_some(true),
        title: &title,
        ..Options::default()
    };
    let picture = match draw(|| open(&arguments.file).and_then(formats::open), &options) {
        Ok(picture) => picture,
        Err(PreviewError::Unreadable(error)) => return refuse(error.code, &error.message, as_json),
        Err(error) => {
            refuse(error.code(), &error.to_string(), as_json);
            return FAILED;
        }
    };
    let bytes = if as_svg { picture.svg().into_bytes() } else { picture.png() };
    if let Err(error) = std::fs::write(&arguments.output, &bytes) {
        let path = arguments.output.display();
        complain("preview.unwritten", &format!("{path} could not be written: {error}. Choose another place."));
        return UNREADABLE;
    }
    if as_json {
        let [width, height] = picture.size_px();
        let value = json!({
            "picture": arguments.output.to_string_lossy(), "bytes": bytes.len(), "width_px": width, "height_px": height,
            "by": name_of(picture.by()), "leaves_machine": picture.leaves_machine(),
        });
        print(&format!("{value:#}\n"));
    }
    DONE
}
