//! `gcode-tools`: reads programs, says what they do, checks them against a machine.

fn main() {}
