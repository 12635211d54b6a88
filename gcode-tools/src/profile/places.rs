//! Where in a profile's file a statement stands, so that what is wrong is said with its line.

use std::ops::Range;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::modbus::{Point, points_problems};

/// One step on the way from the top of a file to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Into a table, by its key.
    Key(&'static str),
    /// Into a list, by place.
    Item(usize),
}

/// Something a profile says that cannot be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is said.
    pub place: Vec<Step>,
    /// What is wrong, in a sentence.
    pub message: String,
}

impl Problem {
    pub(super) fn at(place: impl IntoIterator<Item = Step>, message: impl Into<String>) -> Self {
        Self { place: place.into_iter().collect(), message: message.into() }
    }

    /// The same problem, seen from further up in the file.
    pub(super) fn under(mut self, place: impl IntoIterator<Item = Step>) -> Self {
        self.place.splice(0..0, place);
        self
    }

    /// The same problem, with whose it is.
    pub(super) fn of(mut self, whose: &str) -> Self {
        self.message = format!("{whose}: {}", self.message);
        self
    }
}

/// Problems as text, one a line, in the order of the file.
pub(super) fn said(text: &str, problems: &[Problem]) -> String {
    let file = DeTable::parse(text).ok();
    let spans = problems.iter().map(|problem| file.as_ref().map_or(0..0, |file| span_of(file, &problem.place)));
    let mut lines: Vec<_> =
        spans.zip(problems).map(|(span, problem)| (line(text, &span), problem.message.clone())).collect();
    lines.sort_by_key(|(line, _)| *line);
    list(&lines)
}

/// What is wrong with a file that cannot be read as a profile: its points are looked at one by one, so that all that
/// is wrong with them is said at once and not only the first of it.
pub(super) fn unreadable(text: &str, error: &toml::de::Error) -> String {
    let first = error.span().map_or(1, |span| line(text, &span));
    let mut lines = DeTable::parse(text).map_or_else(|_| Vec::new(), |file| points(text, &file));
    if lines.iter().all(|(line, _)| *line != first) {
        lines.push((first, error.message().to_owned()));
    }
    lines.sort();
    list(&lines)
}

fn list(lines: &[(usize, String)]) -> String {
    lines.iter().map(|(line, message)| format!("line {line}: {message}")).collect::<Vec<_>>().join("\n")
}

fn line(text: &str, span: &Range<usize>) -> usize {
    text.get(..span.start).unwrap_or(text).matches('\n').count() + 1
}

/// Where a statement stands; the last place on the way to it that the file has.
fn span_of(file: &Spanned<DeTable>, place: &[Step]) -> Range<usize> {
    let mut steps = place.iter();
    let Some(Step::Key(first)) = steps.next() else { return 0..0 };
    let Some((key, mut value)) = file.get_ref().iter().find(|(key, _)| key.get_ref() == first) else { return 0..0 };
    let mut span = if value.get_ref().is_array() { value.span() } else { key.span() };
    for step in steps {
        let next = match step {
            Step::Key(key) => value.get_ref().get(*key),
            Step::Item(place) => value.get_ref().get(*place),
        };
        let Some(next) = next else { break };
        value = next;
        span = value.span();
    }
    span
}

/// What is wrong with the points of a file, each with its line.
fn points(text: &str, file: &Spanned<DeTable>) -> Vec<(usize, String)> {
    let own = file.get_ref().get("modbus").map(Spanned::get_ref);
    let devices = file.get_ref().get("auxiliary").and_then(|devices| devices.get_ref().as_array());
    let beside = devices.into_iter().flatten().filter_map(|device| device.get_ref().get("modbus"));
    let maps = own.into_iter().chain(beside.map(Spanned::get_ref));
    let lists = maps.filter_map(|map| map.get("points")?.get_ref().as_array());
    lists.flat_map(|list| list_problems(text, list)).collect()
}

fn list_problems(text: &str, list: &[Spanned<DeValue>]) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut read = Vec::new();
    for (at, value) in list.iter().enumerate() {
        match Point::deserialize(value.clone().into_deserializer()) {
            Ok(point) => read.push((at, point)),
            Err(error) => {
                let name = value.get_ref().get("name").and_then(|name| name.get_ref().as_str()).unwrap_or("");
                let span = error.span().filter(|span| !span.is_empty()).unwrap_or_else(|| value.span());
                lines.push((line(text, &span), format!("point `{name}`: {}", error.message())));
            }
        }
    }
    let points: Vec<_> = read.iter().map(|(at, point)| (*at, point)).collect();
    for problem in points_problems(&points) {
        let place = problem.place.iter().find_map(|step| if let Step::Item(at) = step { list.get(*at) } else { None });
        lines.push((place.map_or(1, |value| line(text, &value.span())), problem.message));
    }
    lines
}

#[cfg(test)]
mod test {
    use super::super::Profile;

    /// A bundled profile with a register map behind it; the map's own lines begin at 1.
    fn wrong(map: &str) -> Vec<String> {
        let (_, text) = Profile::bundled().iter().find(|(name, _)| *name == "grbl-mill-3018").unwrap();
        let before = text.lines().count() as f64;
        let error = Profile::parse(&format!("{text}{map}")).unwrap_err();
        assert_eq!(error.code, "profile.invalid");
        let shifted = |said: &str| {
            let (line, message) = said.strip_prefix("line ").unwrap().split_once(": ").unwrap();
            format!("{} {message}", line.parse::<f64>().unwrap() - before)
        };
        error.message.lines().map(shifted).collect()
    }

    #[test]
    fn every_impossible_point_is_said_at_once_with_its_name_and_its_line() {
        let said = wrong(
            "[modbus]\nunit = 250\n[[modbus.points]]\nname = \"a\"\naddress = 10\ntype = \"u32\"\n\
             [[modbus.points]]\nname = \"b\"\naddress = 11\ntype = \"u16\"\n\
             [[modbus.points]]\nname = \"c\"\ntable = \"input\"\naddress = 65535\ntype = \"f32\"\n",
        );
        assert_eq!(said.len(), 3, "{said:#?}");
        assert!(said[0].starts_with("2 modbus: unit 250"), "{said:#?}");
        assert!(said[1].starts_with("7 modbus: point `b`") && said[1].contains("`a`"), "{said:#?}");
        assert!(said[2].starts_with("11 modbus: point `c`") && said[2].contains("65535"), "{said:#?}");
    }

    #[test]
    fn a_point_that_cannot_be_read_hides_none_of_the_others() {
        let said = wrong(
            "[[modbus.points]]\nname = \"a\"\naddress = 70000\ntype = \"u16\"\n\
             [[modbus.points]]\nname = \"b\"\naddress = 1\ntype = \"u17\"\n\
             [[modbus.points]]\nname = \"c\"\naddress = 5\ntype = \"ascii\"\n",
        );
        assert_eq!(said.len(), 3, "{said:#?}");
        for (said, (line, name)) in said.iter().zip([(3, "`a`"), (8, "`b`"), (9, "`c`")]) {
            assert!(said.starts_with(&format!("{line} ")) && said.contains(name), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_device_beside_the_machine_has_its_line_too() {
        let said = wrong(
            "[[auxiliary]]\nname = \"spindle\"\nkind = \"drive\"\n[auxiliary.modbus]\n[auxiliary.stop]\npoint = \"p\"\n\
             value = 0.0\nproof = \"q\"\n",
        );
        assert_eq!(said.len(), 2, "{said:#?}");
        assert!(said[0].starts_with("6 auxiliary `spindle`: stop: `p`"), "{said:#?}");
        assert!(said[1].starts_with("8 "), "{said:#?}");
    }
}
