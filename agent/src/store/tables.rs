//! Rows and jobs as the tables have them.
#![expect(
    clippy::cast_possible_wrap,
    reason = "SQLite's numbers have a sign; what is counted here stays far below 2^63"
)]

use std::sync::Arc;

use rusqlite::{Row as SqlRow, Transaction, params};

use super::row::{Class, Row, Run, Who};
use crate::jobs::Record;

/// The columns of a row, in the order in which they are read.
pub(super) const ROW: &str = "SELECT number, at_ms, since_boot_us, clock_set, run.name, run.boot, class, machine, job, who, origin, \
                   seq, body, means, person FROM log LEFT JOIN run ON run.id = log.run";

pub(super) fn read_row(row: &SqlRow) -> rusqlite::Result<Row> {
    let class = usize::try_from(row.get::<_, i64>(6)?).ok().and_then(|class| Class::ALL.get(class).copied());
    let who: Option<String> = row.get(9)?;
    let run = Run {
        name: row.get::<_, Option<_>>(4)?.unwrap_or_default(),
        boot: row.get::<_, Option<_>>(5)?.unwrap_or_default(),
    };
    Ok(Row {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        at_ms: row.get(1)?,
        since_boot_us: row.get::<_, i64>(2)?.unsigned_abs(),
        clock_set: row.get(3)?,
        run: Arc::new(run),
        class: class.unwrap_or(Class::Agent),
        machine: row.get(7)?,
        job: row.get(8)?,
        who: who
            .map(|who| {
                let from = row.get::<_, Option<_>>(10)?.unwrap_or_default();
                let means = row.get::<_, Option<_>>(13)?.unwrap_or_default();
                Ok::<_, rusqlite::Error>(Who { who, from, means, person: row.get(14)? })
            })
            .transpose()?,
        seq: row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
        body: row.get::<_, String>(12)?.into(),
    })
}

pub(super) fn put_row(writing: &Transaction, run: i64, row: &Row) -> rusqlite::Result<()> {
    let mut put = writing.prepare_cached(
        "INSERT OR REPLACE INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    put.execute(params![
        row.number as i64,
        row.at_ms,
        row.since_boot_us as i64,
        row.clock_set,
        run,
        row.class as i64,
        row.machine,
        row.job,
        row.who.as_ref().map(|who| &who.who),
        row.who.as_ref().map(|who| &who.from),
        row.seq.map(|seq| seq as i64),
        row.bytes() as i64,
        &*row.body,
        row.who.as_ref().map(|who| &who.means),
        row.who.as_ref().and_then(|who| who.person.as_ref()),
    ])?;
    Ok(())
}

pub(super) fn read_job(row: &SqlRow) -> Result<Record, Box<dyn std::error::Error>> {
    let body: String = row.get(0)?;
    let mut record: Record = serde_json::from_str(&body)?;
    if let Some(progress) = row.get::<_, Option<String>>(1)? {
        record.progress = serde_json::from_str(&progress)?;
    }
    Ok(record)
}

pub(super) fn put_job(writing: &Transaction, record: &Record) -> rusqlite::Result<()> {
    let mut put = writing.prepare_cached("INSERT OR REPLACE INTO job VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let state = record.state;
    put.execute(params![
        record.id,
        record.machine,
        state.word(),
        state.is_over(),
        record.sha256,
        record.idempotency_key,
        json(record),
        record.owner,
    ])?;
    writing.prepare_cached("DELETE FROM progress WHERE job = ?1")?.execute([&record.id])?;
    Ok(())
}

pub(super) fn put_progress(writing: &Transaction, record: &Record) -> rusqlite::Result<()> {
    let mut put = writing.prepare_cached("INSERT OR REPLACE INTO progress VALUES (?1, ?2)")?;
    put.execute(params![record.id, json(&record.progress)])?;
    Ok(())
}

pub(super) fn delete_job(writing: &Transaction, id: &str) -> rusqlite::Result<()> {
    writing.prepare_cached("DELETE FROM job WHERE id = ?1")?.execute([id])?;
    writing.prepare_cached("DELETE FROM progress WHERE job = ?1")?.execute([id])?;
    // The name of a job is its submitter's own words.
    writing
        .prepare_cached("UPDATE log SET who = NULL, origin = NULL, means = NULL, person = NULL WHERE job = ?1")?
        .execute([id])?;
    Ok(())
}

pub(super) fn put_mark(writing: &Transaction, mark: u64) -> rusqlite::Result<()> {
    writing.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('mark', ?1)")?.execute([mark.to_string()])?;
    Ok(())
}

/// Records are of strings and numbers: that always is JSON.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
