//! LinuxCNC's parameters and expressions: `#1=[2*#<depth>]`, `X[SIN[30]+1]`.
//!
//! Operators, functions and their order are those of the LinuxCNC manual's "Parameters and expressions"; angles are in
//! degrees. What has no value (an unset named parameter, a division by zero, a fault in the text) is `None`.

use std::collections::HashMap;

/// Named parameters kept. A program that sets more is broken; further ones are not kept.
pub const NAMED_MAX: usize = 4096;

/// Highest numbered parameter of LinuxCNC.
pub const NUMBERED_MAX: usize = 5602;

/// Depth of brackets followed. LinuxCNC's lines of 255 bytes cannot nest deeper.
const DEPTH_MAX: usize = 64;

/// The values of a program's parameters.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    numbered: HashMap<usize, f64>,
    named: HashMap<Vec<u8>, f64>,
}

impl Parameters {
    /// No parameter set: numbered ones read as 0, named ones have no value.
    pub fn new() -> Self {
        Self::default()
    }

    /// A numbered parameter: 0 unless set, as in LinuxCNC.
    pub fn numbered(&self, number: usize) -> f64 {
        self.numbered.get(&number).copied().unwrap_or(0.0)
    }

    /// Sets a numbered parameter; numbers that LinuxCNC does not have are ignored.
    pub fn set_numbered(&mut self, number: usize, value: f64) {
        if (1..=NUMBERED_MAX).contains(&number) {
            self.numbered.insert(number, value);
        }
    }

    /// Sets a named parameter.
    pub fn set_named(&mut self, name: &str, value: f64) {
        let name = plain_name(name.as_bytes());
        if self.named.len() < NAMED_MAX || self.named.contains_key(&name) {
            self.named.insert(name, value);
        }
    }

    /// Evaluates one value: a number, a parameter, or an expression in brackets, with signs before it.
    ///
    /// ```
    /// use gcode_tools::expression::Parameters;
    /// let mut parameters = Parameters::new();
    /// parameters.set_numbered(2, 3.0);
    /// assert_eq!(parameters.evaluate(b"[#2*2 + 4/2]"), Some(8.0));
    /// assert_eq!(parameters.evaluate(b"-#2"), Some(-3.0));
    /// assert_eq!(parameters.evaluate(b"[1/0]"), None);
    /// ```
    pub fn evaluate(&self, text: &[u8]) -> Option<f64> {
        let mut reader = Reader { text, at: 0, parameters: self, depth: 0 };
        let value = reader.operand()?;
        reader.skip();
        (reader.at == text.len() && value.is_finite()).then_some(value)
    }

    /// Makes all assignments of a line, with values computed before any takes effect. What has no value unsets.
    pub fn assign_all(&mut self, pending: &[(&[u8], &[u8])]) {
        let values: Vec<Option<f64>> = pending.iter().map(|(_, value)| self.evaluate(value)).collect();
        for ((name, _), value) in pending.iter().zip(values) {
            self.assign(name, value);
        }
    }

    fn assign(&mut self, name: &[u8], value: Option<f64>) {
        if name.first() == Some(&b'<') {
            let name = plain_name(name);
            match value {
                Some(value) if self.named.len() < NAMED_MAX || self.named.contains_key(&name) => {
                    self.named.insert(name, value);
                }
                _ => {
                    self.named.remove(&name);
                }
            }
        } else if let (Some(number), Some(value)) = (self.evaluate(name).and_then(index), value) {
            self.set_numbered(number, value);
        }
    }

    /// Takes the local parameters (#1 to #30 and names without `_`) away, to be given back with
    /// [`Parameters::restore_locals`] when a subroutine returns.
    pub fn take_locals(&mut self) -> Locals {
        let numbered = (1..=30).map(|number| self.numbered.remove(&number).unwrap_or(0.0)).collect();
        let (global, local) =
            std::mem::take(&mut self.named).into_iter().partition(|(name, _)| name.first() == Some(&b'_'));
        self.named = global;
        Locals { numbered, named: local }
    }

    /// Puts local parameters back in place of the present ones.
    pub fn restore_locals(&mut self, locals: Locals) {
        drop(self.take_locals());
        for (number, value) in locals.numbered.into_iter().enumerate() {
            self.numbered.insert(number + 1, value);
        }
        self.named.extend(locals.named);
    }
}

/// The local parameters of one subroutine call.
#[derive(Debug, Clone)]
pub struct Locals {
    numbered: Vec<f64>,
    named: HashMap<Vec<u8>, f64>,
}

/// A name without brackets, spaces and capitals, which do not count.
fn plain_name(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|byte| !matches!(byte, b'<' | b'>' | b' ' | b'\t')).map(u8::to_ascii_lowercase).collect()
}

/// A value as a parameter's number.
fn index(value: f64) -> Option<usize> {
    let rounded = value.round();
    ((value - rounded).abs() < 0.0001 && (1.0..=NUMBERED_MAX as f64).contains(&rounded)).then_some(rounded as usize)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    parameters: &'a Parameters,
    depth: usize,
}

impl Reader<'_> {
    fn skip(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip();
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn operand(&mut self) -> Option<f64> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let value = match self.peek()? {
            b'-' => {
                self.at += 1;
                self.operand().map(|value| -value)
            }
            b'+' => {
                self.at += 1;
                self.operand()
            }
            b'[' => {
                self.at += 1;
                let value = self.sum(0)?;
                if !self.take(b']') {
                    return None;
                }
                Some(value)
            }
            b'#' => {
                self.at += 1;
                self.parameter()
            }
            byte if byte.is_ascii_alphabetic() => self.function(),
            _ => self.number(),
        };
        self.depth -= 1;
        value
    }

    fn number(&mut self) -> Option<f64> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
            self.at += 1;
        }
        crate::number::parse(&self.text[start..self.at])
    }

    fn parameter(&mut self) -> Option<f64> {
        if self.peek()? == b'<' {
            let rest = &self.text[self.at..];
            let len = rest.iter().position(|byte| *byte == b'>')? + 1;
            self.at += len;
            return self.parameters.named.get(&plain_name(&rest[..len])).copied();
        }
        let number = self.operand().and_then(index)?;
        Some(self.parameters.numbered(number))
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_alphabetic) {
            self.at += 1;
        }
        self.text[start..self.at].iter().map(|byte| char::from(byte.to_ascii_uppercase())).collect()
    }

    fn function(&mut self) -> Option<f64> {
        let name = self.name();
        if name == "EXISTS" {
            return self.exists();
        }
        if self.peek()? != b'[' {
            return None;
        }
        let x = self.operand()?;
        Some(match name.as_str() {
            "ABS" => x.abs(),
            "ACOS" => x.acos().to_degrees(),
            "ASIN" => x.asin().to_degrees(),
            "ATAN" => {
                if !self.take(b'/') {
                    return None;
                }
                x.atan2(self.operand()?).to_degrees()
            }
            "COS" => x.to_radians().cos(),
            "EXP" => x.exp(),
            "FIX" => x.floor(),
            "FUP" => x.ceil(),
            "LN" => x.ln(),
            "ROUND" => x.round(),
            "SIN" => x.to_radians().sin(),
            "SQRT" => x.sqrt(),
            "TAN" => x.to_radians().tan(),
            _ => return None,
        })
    }

    fn exists(&mut self) -> Option<f64> {
        if !(self.take(b'[') && self.take(b'#')) {
            return None;
        }
        self.skip();
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|byte| *byte == b']')?;
        self.at += len + 1;
        let name = &rest[..len];
        let known = match name.first()? {
            b'<' => self.parameters.named.contains_key(&plain_name(name)),
            _ => self
                .parameters
                .evaluate(name)
                .and_then(index)
                .is_some_and(|at| self.parameters.numbered.contains_key(&at)),
        };
        Some(f64::from(u8::from(known)))
    }

    /// The operator here and how tightly it binds: 4 power, 3 product, 2 sum, 1 comparison, 0 logic.
    fn operator(&mut self) -> Option<(String, u8)> {
        let start = self.at;
        let byte = self.peek()?;
        let found = match byte {
            b'*' if self.text.get(self.at + 1) == Some(&b'*') => {
                self.at += 2;
                ("**".to_owned(), 4)
            }
            b'*' | b'/' => {
                self.at += 1;
                (char::from(byte).to_string(), 3)
            }
            b'+' | b'-' => {
                self.at += 1;
                (char::from(byte).to_string(), 2)
            }
            _ if byte.is_ascii_alphabetic() => {
                let name = self.name();
                let binds = match name.as_str() {
                    "MOD" => 3,
                    "EQ" | "NE" | "GT" | "GE" | "LT" | "LE" => 1,
                    "AND" | "OR" | "XOR" => 0,
                    _ => {
                        self.at = start;
                        return None;
                    }
                };
                (name, binds)
            }
            _ => return None,
        };
        Some(found)
    }

    /// Operands joined by operators that bind at least as tightly as `least`, from left to right.
    fn sum(&mut self, least: u8) -> Option<f64> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut left = self.operand()?;
        loop {
            let start = self.at;
            let Some((operator, binds)) = self.operator() else { break };
            if binds < least {
                self.at = start;
                break;
            }
            let right = self.sum(binds + 1)?;
            left = combine(left, &operator, right)?;
        }
        self.depth -= 1;
        Some(left)
    }
}

fn combine(left: f64, operator: &str, right: f64) -> Option<f64> {
    let truth = |value: bool| f64::from(u8::from(value));
    // LinuxCNC compares with this tolerance.
    let equal = (left - right).abs() < 0.0001;
    let value = match operator {
        "**" => left.powf(right),
        "*" => left * right,
        "/" | "MOD" if right == 0.0 => return None,
        "/" => left / right,
        "MOD" => left.rem_euclid(right.abs()),
        "+" => left + right,
        "-" => left - right,
        "EQ" => truth(equal),
        "NE" => truth(!equal),
        "GT" => truth(left > right && !equal),
        "GE" => truth(left > right || equal),
        "LT" => truth(left < right && !equal),
        "LE" => truth(left < right || equal),
        "AND" => truth(left != 0.0 && right != 0.0),
        "OR" => truth(left != 0.0 || right != 0.0),
        "XOR" => truth((left != 0.0) != (right != 0.0)),
        _ => return None,
    };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn operators_bind_as_in_the_manual() {
        let parameters = Parameters::new();
        for (text, value) in [
            ("[2+3*4-5]", 9.0),
            ("[2 * 3 ** 2]", 18.0),
            ("[10 mod 4]", 2.0),
            ("[1 lt 2 and 3 gt 2]", 1.0),
            ("[ATAN[1]/[1]]", 45.0),
            ("sin[30]", 0.5),
            ("[[1+2]*[3+4]]", 21.0),
            ("[0 - 5 - 2]", -7.0),
            ("FIX[-1.5]", -2.0),
        ] {
            let result = parameters.evaluate(text.as_bytes()).unwrap();
            assert!((result - value).abs() < 1e-9, "{text} gave {result}");
        }
    }

    #[test]
    fn assignments_of_a_line_take_effect_together() {
        let mut parameters = Parameters::new();
        parameters.assign_all(&[(b"1", b"5"), (b"2", b"#1"), (b"< Depth >", b"-1.5")]);
        assert_eq!((parameters.numbered(1), parameters.numbered(2)), (5.0, 0.0));
        assert_eq!(parameters.evaluate(b"#<depth>"), Some(-1.5));
        assert_eq!(parameters.evaluate(b"EXISTS[#<other>]"), Some(0.0));
        parameters.assign_all(&[(b"[1+1]", b"7"), (b"#1", b"3")]);
        assert_eq!((parameters.numbered(2), parameters.numbered(5)), (7.0, 3.0));
    }

    #[test]
    fn faults_have_no_value_and_do_no_harm() {
        let parameters = Parameters::new();
        let deep = [b"[".repeat(5000), b"1".to_vec(), b"]".repeat(5000)].concat();
        for text in
            [&b"["[..], b"[]", b"[1+]", b"#<no>", b"SQRT[-1]", b"[1 2]", b"FOO[1]", b"", b"#0", b"#99999", &deep]
        {
            assert_eq!(parameters.evaluate(text), None, "{}", String::from_utf8_lossy(&text[..text.len().min(9)]));
        }
    }
}
