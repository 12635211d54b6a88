//! One line of any bytes: its items, what goes over the wire, modal state.
#![no_main]

use gcode_tools::block::Block;
use gcode_tools::expression::Parameters;
use gcode_tools::modal::Modal;
use gcode_tools::wire::{self, Alphabet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let block = Block::new(bytes);
    assert_eq!(block.bytes(), bytes);
    let _ = (block.items().count(), block.line_number(), block.checksum_of_bytes());
    Modal::default().apply(&block);
    let mut sent = Vec::new();
    wire::compact(&block, &mut sent);
    assert!(sent.iter().all(|byte| wire::may_be_sent(*byte, Alphabet::Grbl)));
    let _ = Parameters::new().evaluate(bytes);
});
