//! What a client asks for behind the question mark, read alike for every list.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use super::jobs::bad;
use super::problem::Problem;

/// What came behind the question mark, as extracted.
pub(super) type Asked<Q> = Result<Query<Q>, QueryRejection>;

/// The question, if it makes sense.
pub(super) fn read<Q>(asked: Asked<Q>) -> Result<Q, Problem> {
    let Query(query) = asked.map_err(|rejection| bad(&format!("{}.", rejection.body_text())))?;
    Ok(query)
}

/// One of a few words, if it is given; `what` says of what.
pub(super) fn word<T>(given: Option<&str>, known: fn(&str) -> Option<T>, what: &str) -> Result<Option<T>, Problem> {
    let known = |word: &str| known(word).ok_or_else(|| bad(&format!("`{word}` is no {what}.")));
    given.map(known).transpose()
}

/// How many are on a page.
pub(super) fn limit(given: Option<usize>, usual: usize, at_most: usize) -> usize {
    given.unwrap_or(usual).clamp(1, at_most)
}
