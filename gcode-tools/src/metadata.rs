//! What slicers and CAM programs tell of themselves in comments: name, estimates, thumbnails, settings.

use crate::profile::Cornering;
use crate::time::{Firmware, Limits};
use serde::Serialize;

/// Thumbnails kept. Slicers write two or three.
pub const THUMBNAILS_MAX: usize = 16;

/// Tools whose filament type is kept.
const TOOLS_MAX: usize = 64;

/// Comments searched for a program's name. Those that name themselves do so at once, or in their settings at the end.
const UNNAMED_MAX: u32 = 2000;

/// What the program that wrote the file says of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Slicer {
    /// Name of the program, such as `PrusaSlicer`.
    pub name: Option<String>,
    /// Its version, such as `2.5.0`.
    pub version: Option<String>,
    /// Its own estimate of the time, in seconds.
    pub time_s: Option<f64>,
    /// Its own figure of filament by tool, in millimetres.
    pub filament_mm: Vec<f64>,
    /// The first tool's filament type, as written.
    pub material: Option<String>,
    /// Filament types by tool, as written.
    pub materials: Vec<String>,
    /// Filament diameters by tool, in millimetres.
    pub filament_diameter_mm: Vec<f64>,
    /// Filament densities by tool, in g/cm³.
    pub filament_density_g_cm3: Vec<f64>,
    /// Nozzle diameters by tool, in millimetres.
    pub nozzle_diameter_mm: Vec<f64>,
    /// Pictures embedded in comments.
    pub thumbnails: Vec<Thumbnail>,
    /// Which firmware's words the program was written in, as the slicer calls it.
    pub flavor: Option<String>,
    /// Limits the slicer reckoned with, if it wrote them down.
    #[serde(skip)]
    pub machine: MachineLimits,
    #[serde(skip)]
    unnamed: u32,
    #[serde(skip)]
    end: End,
}

/// What tells whether a slicer's file is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct End {
    /// Whether something stood there that the slicer writes behind the last move.
    marked: bool,
    /// Layers announced, and the last one begun, counted from 0.
    layers: Option<i64>,
    layer: Option<i64>,
}

/// One picture embedded in comments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Thumbnail {
    /// `png`, `jpg` or `qoi`.
    pub format: &'static str,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Line of the begin mark.
    pub line: u64,
    /// Characters of base64 as the begin mark announces them.
    pub announced: u64,
    /// Characters of base64 found.
    pub found: u64,
    /// Whether every character is base64.
    pub valid: bool,
    /// Whether the end mark was there.
    pub ended: bool,
}

/// PrusaSlicer's `machine_max_…` settings. Speeds in mm/s, accelerations in mm/s².
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineLimits {
    speed_max: [Option<f64>; 4],
    acceleration_max: [Option<f64>; 4],
    jerk: [Option<f64>; 4],
    accelerations: [Option<f64>; 3],
    speed_min: [Option<f64>; 2],
    tool_change_s: [Option<f64>; 2],
}

impl MachineLimits {
    /// Whether any limit was written down.
    pub fn is_known(&self) -> bool {
        self.speed_max[0].is_some() && self.acceleration_max[0].is_some()
    }

    /// Puts what is known over limits.
    pub fn apply(&self, limits: &mut Limits) {
        let mut jerk = match limits.cornering {
            Cornering::JerkMmS(jerk) => jerk,
            _ => [10.0, 10.0, 0.4, 2.5],
        };
        for axis in 0..4 {
            limits.speed_max[axis] = self.speed_max[axis].unwrap_or(limits.speed_max[axis]);
            limits.acceleration_max[axis] = self.acceleration_max[axis].unwrap_or(limits.acceleration_max[axis]);
            jerk[axis] = self.jerk[axis].unwrap_or(jerk[axis]);
        }
        if self.jerk[0].is_some() {
            limits.cornering = Cornering::JerkMmS(jerk);
        }
        let [print, retract, travel] = self.accelerations;
        limits.print_acceleration = print.unwrap_or(limits.print_acceleration);
        limits.retract_acceleration = retract.unwrap_or(limits.retract_acceleration);
        limits.travel_acceleration = travel.or(print).unwrap_or(limits.travel_acceleration);
        // A limit of 0 is none.
        limits.acceleration_cap =
            [print, retract, travel.or(print)].map(|cap| cap.filter(|cap| *cap > 0.0).unwrap_or(f64::INFINITY));
        limits.speed_min = [self.speed_min[0].unwrap_or(0.0), self.speed_min[1].unwrap_or(0.0)];
        limits.tool_change_s = self.tool_change_s.iter().flatten().sum();
    }

    fn setting(&mut self, key: &str, value: f64) {
        let axis = |key: &str| ["x", "y", "z", "e"].iter().position(|axis| *axis == key);
        if let Some(rest) = key.strip_prefix("machine_max_") {
            let slot = if let Some(rest) = rest.strip_prefix("feedrate_") {
                axis(rest).map(|axis| &mut self.speed_max[axis])
            } else if let Some(rest) = rest.strip_prefix("jerk_") {
                axis(rest).map(|axis| &mut self.jerk[axis])
            } else if let Some(rest) = rest.strip_prefix("acceleration_") {
                match rest {
                    "extruding" => Some(&mut self.accelerations[0]),
                    "retracting" => Some(&mut self.accelerations[1]),
                    "travel" => Some(&mut self.accelerations[2]),
                    _ => axis(rest).map(|axis| &mut self.acceleration_max[axis]),
                }
            } else {
                None
            };
            if let Some(slot) = slot {
                *slot = Some(value);
            }
        }
        match key {
            "machine_min_extruding_rate" => self.speed_min[0] = Some(value),
            "machine_min_travel_rate" => self.speed_min[1] = Some(value),
            "filament_load_time" => self.tool_change_s[0] = Some(value),
            "filament_unload_time" => self.tool_change_s[1] = Some(value),
            _ => {}
        }
    }
}

/// Programs that name themselves in a comment: what to look for, and the name.
const NAMES: [(&str, &str); 19] = [
    ("generated by PrusaSlicer ", "PrusaSlicer"),
    ("generated by SuperSlicer ", "SuperSlicer"),
    ("generated by Slic3r ", "Slic3r"),
    ("generated by OrcaSlicer ", "OrcaSlicer"),
    ("generated by BambuStudio ", "BambuStudio"),
    ("BambuStudio ", "BambuStudio"),
    ("Generated with Cura_SteamEngine ", "Cura"),
    ("Sliced by ideaMaker ", "ideaMaker"),
    ("KISSlicer", "KISSlicer"),
    ("Simplify3D(R) Version ", "Simplify3D"),
    ("G-Code generated by Simplify3D", "Simplify3D"),
    ("LightBurn ", "LightBurn"),
    ("Exported by FreeCAD", "FreeCAD"),
    ("Generated by svg2gcode", "svg2gcode"),
    ("generated by Kiri:Moto", "Kiri:Moto"),
    ("Fusion 360 CAM ", "Fusion 360"),
    ("pcb2gcode ", "pcb2gcode"),
    ("Estlcam version ", "Estlcam"),
    ("Time to generate", "FullControl"),
];

impl Slicer {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self { unnamed: self.unnamed, end: self.end, ..Self::default() }
    }

    /// Whether a thumbnail has begun and not ended.
    pub fn in_thumbnail(&self) -> bool {
        self.thumbnails.last().is_some_and(|thumbnail| !thumbnail.ended)
    }

    /// Whether the slicer's own end mark has been read; `None` of programs that write none.
    ///
    /// PrusaSlicer and its relatives end with their settings, behind a summary of the filament; Cura says how many
    /// layers there are, and `End of Gcode`.
    pub fn is_whole(&self) -> Option<bool> {
        match self.name.as_deref()? {
            "PrusaSlicer" | "SuperSlicer" | "OrcaSlicer" | "Slic3r" => Some(self.end.marked),
            "Cura" => {
                let all_layers =
                    self.end.layers.is_none_or(|count| self.end.layer.is_some_and(|last| last + 1 >= count));
                Some(self.end.marked && all_layers)
            }
            _ => None,
        }
    }

    /// The program's commands begin: what stood before them is no end mark. A bgcode that was made plain text says at its
    /// start too how much filament it uses.
    pub fn commands_begin(&mut self) {
        self.end.marked = false;
    }

    /// Takes in the text of a comment that fills its line. Gives the line a fault of a thumbnail was found on.
    pub fn comment(&mut self, text: &[u8], line: u64) -> bool {
        let text = text.trim_ascii();
        if text.starts_with(b"thumbnail") {
            self.thumbnail_mark(text, line);
            return false;
        }
        if let Some(thumbnail) = self.thumbnails.last_mut().filter(|thumbnail| !thumbnail.ended) {
            let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
            let valid = text.iter().all(base64);
            let first_fault = thumbnail.valid && !valid;
            thumbnail.valid &= valid;
            thumbnail.found += text.len() as u64;
            return first_fault;
        }
        // Only a fraction of the comments of a print say something here: the first bytes tell.
        if text.len() < 512 {
            if let Ok(text) = std::str::from_utf8(text) {
                self.words(text);
            }
        }
        false
    }

    /// A command stands where a thumbnail should go on: the end mark is missing.
    pub fn thumbnail_broken(&mut self) {
        if let Some(thumbnail) = self.thumbnails.last_mut() {
            thumbnail.ended = true;
            thumbnail.valid = false;
        }
    }

    /// `thumbnail begin 16x16 616`, `thumbnail_QOI begin …`, `thumbnail end`.
    fn thumbnail_mark(&mut self, text: &[u8], line: u64) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let mut words = text.split_ascii_whitespace();
        let format = match words.next() {
            Some("thumbnail") => "png",
            Some("thumbnail_JPG") => "jpg",
            Some("thumbnail_QOI") => "qoi",
            _ => return,
        };
        match words.next() {
            Some("end") => {
                if let Some(thumbnail) = self.thumbnails.last_mut() {
                    thumbnail.ended = true;
                }
            }
            Some("begin") if self.thumbnails.len() < THUMBNAILS_MAX => {
                let (width, height) = words.next().and_then(|size| size.split_once('x')).unwrap_or(("0", "0"));
                self.thumbnails.push(Thumbnail {
                    format,
                    width: width.parse().unwrap_or(0),
                    height: height.parse().unwrap_or(0),
                    line,
                    announced: words.next().and_then(|size| size.parse().ok()).unwrap_or(0),
                    found: 0,
                    valid: true,
                    ended: false,
                });
            }
            _ => {}
        }
    }

    fn words(&mut self, text: &str) {
        if self.name.is_none() && self.unnamed < UNNAMED_MAX {
            self.unnamed += 1;
            if let Some((at, mark, name)) = NAMES.iter().find_map(|(mark, name)| Some((text.find(mark)?, mark, name))) {
                self.name = Some((*name).to_owned());
                let rest = &text[at + mark.len()..];
                let version: &str = rest.split([' ', ',', '(']).next().unwrap_or("");
                if version.starts_with(|first: char| first.is_ascii_digit()) {
                    self.version = Some(version.to_owned());
                }
                return;
            }
        }
        if matches!(text, "End of Gcode" | "EXECUTABLE_BLOCK_END") {
            self.end.marked = true;
        } else if let Some((key, value)) = text.split_once('=') {
            self.setting(key.trim(), value.trim());
        } else if let Some((key, value)) = text.split_once(':') {
            self.cura(key.trim(), value.trim());
        }
    }

    /// `key = value` of PrusaSlicer and its relatives.
    fn setting(&mut self, key: &str, value: &str) {
        match key {
            "estimated printing time (normal mode)" | "estimated printing time" | "total estimated time" => {
                self.time_s = duration_s(value).or(self.time_s);
            }
            "filament used [mm]" => (self.filament_mm, self.end.marked) = (numbers(value), true),
            // Slic3r's summary: `filament used = 645.9mm (1.6cm3)`.
            "filament used" => self.end.marked = true,
            _ if value == "end" && key.ends_with("_config") => self.end.marked = true,
            "filament_diameter" => self.filament_diameter_mm = numbers(value),
            "filament_density" => self.filament_density_g_cm3 = numbers(value),
            "nozzle_diameter" => self.nozzle_diameter_mm = numbers(value),
            "filament_type" => {
                self.materials = value.split(';').take(TOOLS_MAX).map(str::to_owned).collect();
                self.material = self.materials.first().cloned();
            }
            "gcode_flavor" => self.flavor = Some(value.to_owned()),
            _ if key.starts_with("machine_m") || key.starts_with("filament_") => {
                if let Some(value) = numbers(value).first() {
                    self.machine.setting(key, *value);
                }
            }
            _ => {}
        }
    }

    /// `KEY:value` of Cura.
    fn cura(&mut self, key: &str, value: &str) {
        match key {
            "TIME" if self.time_s.is_none() => self.time_s = value.parse().ok(),
            "Filament used" | "Material used" => {
                let metres: Vec<f64> = value
                    .split(',')
                    .filter_map(|part| part.trim().strip_suffix('m')?.trim().parse::<f64>().ok())
                    .map(|metres| metres * 1000.0)
                    .collect();
                if !metres.is_empty() {
                    self.filament_mm = metres;
                }
            }
            "FLAVOR" => self.flavor = Some(value.to_owned()),
            "LAYER_COUNT" => self.end.layers = value.parse().ok(),
            "LAYER" => self.end.layer = value.parse().ok().or(self.end.layer),
            _ => {}
        }
    }

    /// The firmware the flavour stands for.
    pub fn firmware(&self) -> Option<Firmware> {
        let flavor = self.flavor.as_deref()?.to_ascii_lowercase();
        match flavor.as_str() {
            "reprapfirmware" | "reprap (reprapfirmware)" => Some(Firmware::RepRapFirmware),
            // PrusaSlicer reckons Klipper's time as Marlin's.
            _ => Some(Firmware::Marlin),
        }
    }

    /// The limits a slicer has written at the end of a file, from its last bytes.
    ///
    /// A stream is read once, from its start; whoever has a file can look at its end first and plan with what the
    /// slicer planned with.
    pub fn of_tail(tail: &[u8]) -> Self {
        let mut slicer = Self::default();
        for line in tail.split(|byte| *byte == b'\n') {
            if let Some(text) = line.strip_prefix(b";") {
                slicer.comment(text, 0);
            }
        }
        slicer
    }
}

/// Numbers separated by commas or semicolons.
fn numbers(text: &str) -> Vec<f64> {
    text.split([',', ';'])
        .take(64)
        .filter_map(|part| part.trim().parse::<f64>().ok().filter(|value| value.is_finite()))
        .collect()
}

/// `1d 2h 3m 4s` in seconds.
fn duration_s(text: &str) -> Option<f64> {
    let mut total = None;
    for part in text.split_ascii_whitespace() {
        let (number, unit) = part.split_at(part.len().checked_sub(1)?);
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            _ => return total,
        };
        total = Some(total.unwrap_or(0.0) + number.parse::<f64>().ok()? * seconds);
    }
    total
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(lines: &[&str]) -> Slicer {
        let mut slicer = Slicer::default();
        for (number, line) in lines.iter().enumerate() {
            slicer.comment(line.as_bytes(), number as u64 + 1);
        }
        slicer
    }

    #[test]
    fn prusaslicer_tells_its_name_time_filament_and_limits() {
        let slicer = read(&[
            " generated by PrusaSlicer 2.5.0 on 2026-11-22 at 11:02:48 UTC",
            " filament used [mm] = 506.97, 596.50",
            " estimated printing time (normal mode) = 1d 2h 3m 4s",
            " filament_type = PLA;PETG",
            " machine_max_feedrate_x = 200,100",
            " machine_max_acceleration_x = 1000,960",
            " machine_max_acceleration_extruding = 1250,1250",
            " machine_max_jerk_x = 8,8",
        ]);
        assert_eq!((slicer.name.as_deref(), slicer.version.as_deref()), (Some("PrusaSlicer"), Some("2.5.0")));
        assert_eq!((slicer.time_s, slicer.filament_mm.as_slice()), (Some(93_784.0), &[506.97, 596.5][..]));
        let mut limits = Limits::assumed(crate::time::Firmware::Marlin);
        slicer.machine.apply(&mut limits);
        assert!(slicer.machine.is_known());
        assert_eq!((limits.speed_max[0], limits.print_acceleration), (200.0, 1250.0));
    }

    #[test]
    fn cura_tells_in_its_own_way() {
        let slicer =
            read(&["FLAVOR:Marlin", "TIME:1315", "Filament used: 1.57884m", "Generated with Cura_SteamEngine 4.13.0"]);
        assert_eq!((slicer.time_s, slicer.name.as_deref()), (Some(1315.0), Some("Cura")));
        assert!((slicer.filament_mm[0] - 1578.84).abs() < 1e-9);
    }

    #[test]
    fn a_slicers_end_mark_tells_a_whole_file() {
        let name = " generated by PrusaSlicer 2.5.0 on 2026";
        assert_eq!(read(&[name]).is_whole(), Some(false));
        assert_eq!(read(&[name, " filament used [mm] = 5"]).is_whole(), Some(true));
        assert_eq!(read(&[name, " prusaslicer_config = end"]).is_whole(), Some(true));
        assert_eq!(read(&[" generated by Slic3r 1.3.0", " filament used = 645.9mm (1.6cm3)"]).is_whole(), Some(true));
        let mut decoded = read(&[name, " filament used [mm] = 5"]);
        decoded.commands_begin();
        assert_eq!(decoded.is_whole(), Some(false));
        let cura = ["Generated with Cura_SteamEngine 4.13.0", "LAYER_COUNT:2", "LAYER:0", "LAYER:1", "End of Gcode"];
        assert_eq!(read(&cura).is_whole(), Some(true));
        assert_eq!(read(&cura[..4]).is_whole(), Some(false));
        assert_eq!(read(&[cura[0], cura[1], cura[2], cura[4]]).is_whole(), Some(false));
        assert_eq!(read(&["LightBurn 1.4.00"]).is_whole(), None);
    }

    #[test]
    fn a_thumbnail_is_measured_and_its_faults_seen() {
        let slicer = read(&[" thumbnail begin 16x16 8", " iVBORw0K", " thumbnail end"]);
        let [thumbnail] = &slicer.thumbnails[..] else { panic!("{slicer:?}") };
        assert!(thumbnail.valid && thumbnail.ended);
        assert_eq!((thumbnail.width, thumbnail.found, thumbnail.announced), (16, 8, 8));
        assert!(read(&["thumbnail begin 16x16 616", "abc"]).in_thumbnail());
        assert!(!read(&["thumbnail_QOI begin 16x16 616", "ab!c"]).thumbnails[0].valid);
    }
}
