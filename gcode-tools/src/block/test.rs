//! What a block must read, and what must not confuse it.

use super::*;

fn words(text: &str) -> Vec<(char, Option<f64>)> {
    Block::new(text.as_bytes()).words().map(|word| (char::from(word.letter), word.number())).collect()
}

#[test]
fn words_need_no_spaces_and_no_capitals() {
    assert_eq!(words("g1x10y-.5f600"), [('G', Some(1.0)), ('X', Some(10.0)), ('Y', Some(-0.5)), ('F', Some(600.0))]);
    assert_eq!(words("N 30 G 1 X 4 0 Y - 5")[2..], [('X', Some(40.0)), ('Y', Some(-5.0))]);
    assert_eq!(words("G1 X1E5"), [('G', Some(1.0)), ('X', Some(1.0)), ('E', Some(5.0))]);
}

#[test]
fn a_number_without_a_letter_is_stray_and_joins_no_code() {
    let items: Vec<_> = Block::new(b"G1 10 20 F600").items().collect();
    assert_eq!(items.len(), 4, "{items:?}");
    assert!(matches!(items[1], Item::Stray(Span { start: 3, end: 5 })));
}

#[test]
fn a_word_may_have_no_value() {
    assert_eq!(words("G28 X Y"), [('G', Some(28.0)), ('X', None), ('Y', None)]);
    assert_eq!(words("T"), [('T', None)]);
}

#[test]
fn the_text_of_a_message_is_no_word() {
    let block = Block::new(b"M117 50% X=5 done; really");
    assert_eq!(words("M117 50% X=5 done"), [('M', Some(117.0))]);
    assert!(block.items().any(|item| matches!(item, Item::Text { text: b"50% X=5 done", .. })));
    assert_eq!(block.comments().collect::<Vec<_>>(), [b" really"]);
}

#[test]
fn a_quoted_string_is_one_value() {
    let block = Block::new(b"M862.3 P \"MK3S G1 X5\" ; check");
    assert_eq!(block.codes().collect::<Vec<_>>(), [('M', 8623)]);
    assert_eq!(block.word('p').map(|word| (word.text, word.shape)), Some((&b"MK3S G1 X5"[..], Shape::Quoted)));
}

#[test]
fn a_pause_may_carry_a_message_or_words() {
    assert_eq!(words("M0 Click to go on"), [('M', Some(0.0))]);
    assert_eq!(words("M0 S5"), [('M', Some(0.0)), ('S', Some(5.0))]);
    assert_eq!(words("M30"), [('M', Some(30.0))]);
}

#[test]
fn comments_are_seen_with_their_faults() {
    let styles: Vec<_> = Block::new(b"(outer (inner) tail) G1 X10")
        .items()
        .filter_map(|item| match item {
            Item::Comment { style, .. } => Some(style),
            _ => None,
        })
        .collect();
    assert_eq!(styles, [CommentStyle::Parentheses { closed: true, nested: true }]);
    assert!(Block::new(b"G1 X30 (never").items().any(|item| matches!(
        item,
        Item::Comment { style: CommentStyle::Parentheses { closed: false, .. }, text: b"never", .. }
    )));
}

#[test]
fn a_checksum_is_read_and_computed() {
    let block = Block::new(b"N1 G21*27 ; spoken after");
    assert_eq!((block.line_number(), block.checksum(), block.checksum_of_bytes()), (Some(1), Some(Some(27)), Some(27)));
    assert_eq!(Block::new(b"N2 G90*zz").checksum(), Some(None));
    assert_eq!(Block::new(b"N3 G1 X1*256").checksum(), Some(None));
    assert_eq!(Block::new(b"G1 X[#2*2]").checksum(), None);
    assert_eq!(Block::new(b"N5 M117 5*3 is*88").checksum(), Some(Some(88)));
}

#[test]
fn parameters_expressions_and_o_words_are_recognised() {
    let items: Vec<_> = Block::new(b"#1 = [2*3] #<depth>=-1 X#1 Y[#2*2] Z-#<depth> R SIN[30]").items().collect();
    assert!(matches!(items[0], Item::Assign { name: b"1", value: b"[2*3]", .. }), "{items:?}");
    assert!(matches!(items[1], Item::Assign { name: b"<depth>", value: b"-1", .. }));
    assert!(matches!(items[2], Item::Word(Word { letter: b'X', text: b"#1", shape: Shape::Expression, .. })));
    assert!(matches!(items[3], Item::Word(Word { letter: b'Y', text: b"[#2*2]", .. })));
    assert!(matches!(items[4], Item::Word(Word { letter: b'Z', text: b"-#<depth>", .. })));
    assert!(matches!(items[5], Item::Word(Word { letter: b'R', text: b"SIN[30]", shape: Shape::Expression, .. })));
    assert_eq!(Block::new(b"G0 X -ABS [#1] Y EXISTS[#<a>]").words().count(), 3);
    assert!(matches!(
        Block::new(b"o100 while [#1 LT 5] (go)").items().next(),
        Some(Item::Flow { name: b"100", rest: b"while [#1 LT 5]", .. })
    ));
    assert!(matches!(
        Block::new(b"O<hole> call [1] [2]").items().next(),
        Some(Item::Flow { name: b"<hole>", rest: b"call [1] [2]", .. })
    ));
}

#[test]
fn commands_of_other_languages_are_kept_whole() {
    for line in ["SET_PIN PIN=fan VALUE=.5", "_HOME", "TIME:6666", "while iterations < 5"] {
        assert!(
            matches!(Block::new(line.as_bytes()).items().next(), Some(Item::Extended { text, .. }) if text == line.as_bytes()),
            "{line}"
        );
    }
    assert!(matches!(Block::new(b"$130=9999").items().next(), Some(Item::System { text: b"$130=9999", .. })));
    assert!(matches!(Block::new(b"[ESP444]RESTART").items().next(), Some(Item::Bracketed { .. })));
}

#[test]
fn blank_is_what_no_machine_would_execute() {
    for line in ["", "  \t", "; x", "(x)", "%", "N10", "N10 (x) ; y", "O1000 (NAME)", "/"] {
        assert!(Block::new(line.as_bytes()).is_blank(), "{line}");
    }
    for line in ["G", "50", "X1", "M117", "$H", "#1=2", "o1 call", "PAUSE", "\0"] {
        assert!(!Block::new(line.as_bytes()).is_blank(), "{line}");
    }
}

#[test]
fn items_cover_every_byte_that_is_no_space() {
    for line in ["G1 X1 0 (a(b) ) *", "#", "#<", "o", "G[", "P\"", "%%//$", "X--5+", "N N1*", "M117", "\u{e4}\u{f6}"] {
        let bytes = line.as_bytes();
        let mut seen = vec![false; bytes.len()];
        for item in Block::new(bytes).items() {
            let span = span_of(&item);
            assert!(span.start < span.end && span.end <= bytes.len(), "{line}: {item:?}");
            seen[span.start..span.end].iter_mut().for_each(|byte| *byte = true);
        }
        for (at, byte) in bytes.iter().enumerate() {
            assert!(seen[at] || byte.is_ascii_whitespace(), "{line}: byte {at} lost");
        }
    }
}

fn span_of(item: &Item<'_>) -> Span {
    match *item {
        Item::Word(word) => word.span,
        Item::Comment { span, .. }
        | Item::Text { span, .. }
        | Item::Checksum { span, .. }
        | Item::System { span, .. }
        | Item::Bracketed { span, .. }
        | Item::Extended { span, .. }
        | Item::Assign { span, .. }
        | Item::Flow { span, .. }
        | Item::Percent(span)
        | Item::Delete(span)
        | Item::Stray(span) => span,
    }
}
