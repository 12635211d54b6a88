use super::*;
use crate::store::{Class, Run};

pub(super) fn row_of(machine: &str, number: u64, run: &str, seq: u64) -> Item {
    let run = Arc::new(Run { name: run.to_owned(), boot: String::new() });
    Item::Row(Arc::new(Row {
        number,
        at_ms: 0,
        since_boot_us: 0,
        clock_set: true,
        run,
        class: Class::Job,
        machine: Some(machine.into()),
        job: None,
        who: None,
        seq: Some(seq),
        body: format!("{{\"text\":\"{number}\"}}").into(),
    }))
}

fn row(number: u64, run: &str, seq: u64) -> Item {
    row_of("mill", number, run, seq)
}

fn batch(items: Vec<Item>, number: u64) -> Batch {
    Batch { items, cursor: Cursor { log: "l".into(), number } }
}

fn outbox() -> Outbox {
    Outbox::new(vec!["mill".into(), "saw".into()])
}

fn at(milliseconds: u64) -> Moment {
    Moment(milliseconds * 1000)
}

fn offers(outbox: &mut Outbox, refusals: &Refusals, now: Moment) -> Vec<Due> {
    std::iter::from_fn(|| outbox.offer(refusals, now)).collect()
}

fn drain(outbox: &mut Outbox) -> Vec<Value> {
    let offers = offers(outbox, &Refusals::default(), at(0));
    offers.iter().map(|due| serde_json::from_slice(&due.payload(usize::MAX).unwrap()).unwrap()).collect()
}

#[test]
fn the_cursor_moves_only_over_what_the_broker_has() {
    let mut outbox = outbox();
    outbox.connected(0, 16);
    outbox.take(batch(vec![row(3, "r", 1), row(5, "r", 2)], 7));
    let out = offers(&mut outbox, &Refusals::default(), at(0));
    let first: Value = serde_json::from_slice(&out[0].payload(1000).unwrap()).unwrap();
    assert_eq!(first, json!({"run": "r", "seq": 1, "number": 3, "text": "3", "historical": false}));
    assert_eq!(outbox.place().number, 2);
    outbox.hear(out[1].key, Verdict::Taken, at(0));
    assert_eq!(outbox.place().number, 2);
    outbox.hear(out[0].key, Verdict::Taken, at(0));
    assert_eq!((outbox.place().number, outbox.len()), (7, 0));
}

#[test]
fn what_was_not_acknowledged_is_offered_again_in_order_and_marked_as_history() {
    let mut outbox = outbox();
    let refusals = Refusals::default();
    outbox.connected(0, 16);
    outbox.take(batch(vec![row(1, "r", 1), row(2, "r", 2), row(3, "r", 3)], 3));
    let out = offers(&mut outbox, &refusals, at(0));
    outbox.hear(out[0].key, Verdict::Taken, at(0));
    outbox.connected(3, 16);
    outbox.take(batch(vec![row(4, "r", 4)], 4));
    let again: Vec<_> = (0..4).flat_map(|n| offers(&mut outbox, &refusals, at(10 * n))).collect();
    assert_eq!(again.iter().filter_map(Due::number).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!((again[0].historical, again[2].historical), (true, false));
}

#[test]
fn history_is_paced_and_what_happens_now_is_not() {
    let mut outbox = outbox();
    let refusals = Refusals::default();
    outbox.connected(2, 16);
    outbox.take(batch((1..=5).map(|number| row(number, "r", number)).collect(), 5));
    assert_eq!(offers(&mut outbox, &refusals, at(0)).len(), 1);
    assert_eq!(outbox.next_at(), Some(at(10)));
    assert_eq!(offers(&mut outbox, &refusals, at(9)).len(), 0);
    assert_eq!(offers(&mut outbox, &refusals, at(10)).len(), 4);
    assert_eq!(outbox.next_at(), None);
}

#[test]
fn few_events_are_on_their_way_at_once_and_no_more_than_the_broker_allows() {
    let mut outbox = outbox();
    let refusals = Refusals::default();
    outbox.connected(0, 65_535);
    outbox.take(batch((1..=40).map(|number| row(number, "r", number)).collect(), 40));
    let out = offers(&mut outbox, &refusals, at(0));
    assert_eq!(out.len(), IN_FLIGHT_MAX);
    outbox.hear(out[0].key, Verdict::Taken, at(0));
    assert_eq!(offers(&mut outbox, &refusals, at(0)).len(), 1);
    outbox.connected(0, 3);
    assert_eq!(offers(&mut outbox, &refusals, at(0)).len(), 3);
}

#[test]
fn events_never_left_where_the_broker_refused_those_of_another_machine() {
    let mut outbox = outbox();
    let mut refusals = Refusals::default();
    outbox.connected(0, 16);
    let item = |number: u64| row_of(if number % 2 == 0 { "saw" } else { "mill" }, number, "r", number.div_ceil(2));
    outbox.take(batch((1..=4).map(item).collect(), 4));
    for due in offers(&mut outbox, &refusals, at(0)) {
        let verdict = if due.machine == 0 { Verdict::Refused } else { Verdict::Taken };
        refusals.hear(&Place::Events(due.machine), verdict, at(0));
        outbox.hear(due.key, verdict, at(0));
    }
    outbox.take(batch((5..=8).map(item).collect(), 8));
    let numbers: Vec<_> = offers(&mut outbox, &refusals, at(1)).iter().filter_map(Due::number).collect();
    assert_eq!((numbers, outbox.place().number), (vec![6, 8], 5));
    // The rules are corrected: what was refused is owned up to before the next.
    outbox.take(batch((9..=10).map(item).collect(), 10));
    let later = at(700_000);
    let out = offers(&mut outbox, &refusals, later);
    let owned: Value = serde_json::from_slice(&out[0].payload(1000).unwrap()).unwrap();
    assert_eq!((&owned["type"], &owned["count"]), (&json!("events_dropped"), &json!(4)));
    assert_eq!((&owned["from"], &owned["to"], out[1].number()), (&json!(1), &json!(7), Some(9)));
}

#[test]
fn a_broker_that_is_full_is_asked_again_later_and_one_at_a_time() {
    let mut outbox = outbox();
    let refusals = Refusals::default();
    outbox.connected(0, 16);
    outbox.take(batch((1..=3).map(|number| row(number, "r", number)).collect(), 3));
    for due in offers(&mut outbox, &refusals, at(0)) {
        outbox.hear(due.key, Verdict::Full, at(0));
    }
    assert_eq!((outbox.offer(&refusals, at(4999)).is_none(), outbox.next_at()), (true, Some(at(5000))));
    let out = offers(&mut outbox, &refusals, at(5000));
    assert_eq!(out.iter().filter_map(Due::number).collect::<Vec<_>>(), [1]);
}

#[test]
fn an_event_longer_than_the_broker_takes_is_told_without_what_makes_it_long() {
    let mut outbox = outbox();
    outbox.connected(0, 16);
    let Item::Row(long) = row(3, "r", 1) else { panic!("a row") };
    let long = Row { body: json!({ "text": "x".repeat(500) }).to_string().into(), ..Row::clone(&long) };
    outbox.take(batch(vec![Item::Row(Arc::new(long))], 3));
    let due = outbox.offer(&Refusals::default(), at(0)).unwrap();
    let full = due.payload(1000).unwrap().len();
    let short: Value = serde_json::from_slice(&due.payload(full - 1).unwrap()).unwrap();
    assert_eq!(short, json!({"run": "r", "seq": 1, "number": 3, "historical": false, "too_long": full}));
    assert!(due.payload(20).is_none());
}

#[test]
fn what_is_gone_is_said_before_the_next_with_how_many_and_which_numbers() {
    let mut outbox = outbox();
    let gap = Item::Gap(Gap { from: 2, to: 8 });
    outbox.take(batch(vec![row(1, "r", 1), gap.clone(), row(9, "r", 6)], 9));
    let out = drain(&mut outbox);
    assert_eq!((&out[1]["type"], &out[1]["count"]), (&json!("events_dropped"), &json!(4)));
    assert_eq!((&out[1]["from"], &out[1]["to"], &out[2]["seq"]), (&json!(2), &json!(8), &json!(6)));
    outbox.take(batch(vec![Item::Gap(Gap { from: 10, to: 4000 }), row(4001, "s", 1)], 4001));
    assert_eq!(drain(&mut outbox)[0]["to"], 4000, "an agent that was killed may have told what nobody knows");
    outbox.take(batch(vec![row(4002, "t", 1)], 4002));
    assert_eq!(drain(&mut outbox).len(), 1, "one that ended in good order has not");
}

#[test]
fn what_the_log_lost_while_the_agent_was_killed_is_owned_up_to_by_the_next_life() {
    let mut outbox = outbox();
    outbox.take(batch(vec![Item::Gap(Gap { from: 7, to: 4000 }), row(4001, "s", 1)], 4001));
    let out = drain(&mut outbox);
    assert_eq!((&out[0]["type"], &out[0]["from"], &out[1]["seq"]), (&json!("events_dropped"), &json!(7), &json!(1)));
}
