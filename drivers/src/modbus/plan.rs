//! The plan of reads: neighbours are read together, as few questions as the limits of a frame allow.

use super::{Modbus, Point, Protocol, Table};

/// Registers in one read (Modbus Application Protocol 1.1b3, 6.3 and 6.4).
pub const READ_REGISTERS_MAX: u16 = 125;

/// Bits in one read (Modbus Application Protocol 1.1b3, 6.1 and 6.2).
pub const READ_BITS_MAX: u16 = 2_000;

/// One question of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The table.
    pub table: Table,
    /// First entry.
    pub address: u16,
    /// Entries.
    pub count: u16,
    /// How often it is asked, in milliseconds.
    pub poll_ms: u64,
    /// Which points it answers, as places in the map.
    pub points: Vec<usize>,
}

impl Read {
    /// The entries of one of its points in an answer.
    pub fn part<'a>(&self, point: &Point, words: &'a [u16]) -> Option<&'a [u16]> {
        let from = usize::from(point.address.checked_sub(self.address)?);
        words.get(from..from + usize::from(point.size()))
    }
}

/// Plans the reads of a map: points of one table and one poll rate that are neighbours, or have at most
/// `gap_registers` between them, share a question, where the protocol has questions for several.
pub fn plan(map: &Modbus) -> Vec<Read> {
    let (points, gap) = (&map.points, map.gap_registers);
    let mut order: Vec<usize> =
        (0..points.len()).filter(|at| points[*at].access.reads() && points[*at].poll_ms > 0).collect();
    order.sort_by_key(|at| (points[*at].poll_ms, points[*at].table, points[*at].address));
    let mut reads: Vec<Read> = Vec::new();
    for at in order {
        let point = &points[at];
        let end = u32::from(point.address) + u32::from(point.size());
        let limit = match map.protocol {
            Protocol::Huanyang => 1,
            Protocol::Modbus if point.table.is_bits() => READ_BITS_MAX,
            Protocol::Modbus => READ_REGISTERS_MAX,
        };
        if let Some(last) = reads.last_mut().filter(|last| last.table == point.table && last.poll_ms == point.poll_ms) {
            let reach = u32::from(last.address) + u32::from(last.count) + u32::from(gap);
            let count = end.saturating_sub(u32::from(last.address)).max(u32::from(last.count));
            if u32::from(point.address) <= reach && count <= u32::from(limit) {
                last.count = count as u16;
                last.points.push(at);
                continue;
            }
        }
        let (table, address, poll_ms) = (point.table, point.address, point.poll_ms);
        reads.push(Read { table, address, count: point.size(), poll_ms, points: vec![at] });
    }
    reads
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::super::value::test::point;
    use super::super::{Access, Form, Order};
    use super::*;

    fn map(points: &[Point], gap_registers: u16) -> Modbus {
        Modbus { points: points.to_vec(), gap_registers, ..Modbus::default() }
    }

    fn at(address: u16, form: Form) -> Point {
        Point { name: format!("p{address}"), address, ..point(form, Order::Abcd) }
    }

    #[test]
    fn neighbours_are_read_together_and_others_are_not() {
        let points = [at(2, Form::F32), at(0, Form::F32), at(10, Form::U16), at(4, Form::U16)];
        let reads = plan(&map(&points, 0));
        assert_eq!(reads.iter().map(|read| (read.address, read.count)).collect::<Vec<_>>(), [(0, 5), (10, 1)]);
        assert_eq!(plan(&map(&points, 5)).len(), 1, "five registers may be read over");
        assert_eq!(reads[0].part(&points[0], &[1, 2, 3, 4, 5]), Some(&[3, 4][..]));
    }

    #[test]
    fn what_is_only_written_or_never_polled_is_not_read() {
        let mut points = [at(0, Form::U16), at(1, Form::U16)];
        points[0].access = Access::Write;
        points[1].poll_ms = 0;
        assert!(plan(&map(&points, 0)).is_empty());
    }

    proptest! {
        #[test]
        fn every_point_is_read_once_within_one_frame(
            places in prop::collection::btree_map(0_u16..2000, prop::sample::select(vec![1_u64, 1000]), 1..200),
            gap in 0_u16..20,
        ) {
            let points: Vec<Point> = places.iter().map(|(place, poll_ms)| Point { poll_ms: *poll_ms, ..at(place * 2, Form::U32) }).collect();
            let reads = plan(&map(&points, gap));
            let mut seen: Vec<usize> = reads.iter().flat_map(|read| read.points.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..points.len()).collect::<Vec<_>>());
            for read in &reads {
                prop_assert!(read.count <= READ_REGISTERS_MAX);
                let words = vec![0; usize::from(read.count)];
                let wanted: usize = read.points.iter().map(|at| usize::from(points[*at].size())).sum();
                prop_assert!(read.points.iter().all(|at| read.part(&points[*at], &words).is_some()));
                prop_assert!(usize::from(read.count) <= wanted + usize::from(gap) * (read.points.len() - 1));
            }
        }
    }
}
