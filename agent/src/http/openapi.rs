//! The API's description, at `/api/v1/openapi.json`.

use axum::Json;
use serde_json::{Value, json};

use super::{by_hand, people};

/// Every route of the API: method, path, what it does. A test asks the router for each of them.
pub(super) const ROUTES: &[(&str, &str, &str)] = &[
    ("get", "/api/v1/machines", "Live status of every machine"),
    ("get", "/api/v1/machines/{machine}", "Live status of one machine"),
    ("get", "/api/v1/machines/{machine}/capability", "What can be made on it"),
    ("get", "/api/v1/machines/{machine}/capacity", "Whether it is free, and when"),
    ("post", "/api/v1/machines/{machine}/stop", "Emergency stop; never queued behind anything"),
    ("post", "/api/v1/machines/{machine}/clear", "A person says: the alarm is looked at, the bed is clear"),
    ("post", "/api/v1/machines/{machine}/out-of-service", "Take it out of service: no job starts on it"),
    ("delete", "/api/v1/machines/{machine}/out-of-service", "Put it back into service"),
    ("post", "/api/v1/machines/{machine}/resume", "A person says: go on, where no job is what waits"),
    ("post", "/api/v1/machines/{machine}/home", "Home all axes; refused while anything else moves"),
    ("post", "/api/v1/machines/{machine}/jog", "Move by hand, bounded: one step, or as long as a button is held"),
    ("post", "/api/v1/machines/{machine}/probe", "Move down until the probe touches; mills only"),
    ("post", "/api/v1/machines/{machine}/override", "Change feed, rapids, spindle or flow; also while a job runs"),
    ("post", "/api/v1/machines/{machine}/answer", "Answer what the machine asks"),
    ("post", "/api/v1/machines/{machine}/jobs", "Submit a program: the body is the program. Submit is not start"),
    ("get", "/api/v1/jobs", "Jobs, newest first; filter by machine and state, page by limit and cursor"),
    ("get", "/api/v1/jobs/{job}", "One job"),
    ("delete", "/api/v1/jobs/{job}", "Forget a job that is not on a machine, with its program"),
    ("get", "/api/v1/jobs/{job}/preview.svg", "A picture of what its program does, as SVG"),
    ("get", "/api/v1/jobs/{job}/program", "The program as it was submitted"),
    ("get", "/api/v1/jobs/{job}/record", "What became of it, and who submitted, cleared and started it"),
    ("get", "/api/v1/jobs/{job}/findings", "What was found in the program"),
    ("post", "/api/v1/jobs/{job}/start", "Start it, once"),
    ("post", "/api/v1/jobs/{job}/resume-after-failure", "Make a job of the rest of a failed one, or say why not"),
    ("post", "/api/v1/jobs/{job}/pause", "Hold it"),
    ("post", "/api/v1/jobs/{job}/resume", "Go on after a hold"),
    ("post", "/api/v1/jobs/{job}/cancel", "End it early and make the machine safe"),
    ("get", "/api/v1/events", "Server-sent events, resumable by Last-Event-ID"),
    ("get", "/api/v1/log", "What happened and who asked for it, oldest first; page by limit and cursor"),
    ("delete", "/api/v1/log/people/{person}", "Take a person's name or address out of the log; the rows stay"),
    ("get", "/api/v1/me", "Who asks, and what the agent takes them for"),
    ("post", "/api/v1/claim", "Become the first admin with the code of the agent's terminal, once"),
    ("get", "/api/v1/agent", "The agent's key and which log it keeps"),
    ("post", "/api/v1/agent/key", "Put a new key in the place of the old one"),
    ("get", "/api/v1/members", "People; members see themselves"),
    ("post", "/api/v1/members", "Add somebody"),
    ("get", "/api/v1/members/{member}", "Somebody"),
    ("patch", "/api/v1/members/{member}", "Change somebody's role or competence"),
    ("delete", "/api/v1/members/{member}", "Remove somebody, and with them their tokens"),
    ("put", "/api/v1/members/{member}/pin", "Set somebody's PIN"),
    ("delete", "/api/v1/members/{member}/pin", "Take somebody's PIN away"),
    ("get", "/api/v1/tokens", "Tokens, without their secrets; members see their own"),
    ("post", "/api/v1/tokens", "Make a token; its secret is in this answer and nowhere else"),
    ("delete", "/api/v1/tokens/{token}", "Make a token open nothing from now on"),
];

pub(super) async fn document() -> Json<Value> {
    let mut paths = json!({});
    for (method, path, summary) in ROUTES {
        let parameters: Vec<_> = ["machine", "job", "person", "member", "token"]
            .iter()
            .filter(|name| path.contains(&format!("{{{name}}}")))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let problem = json!({
            "description": "A problem with a stable code",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        let submits = path.ends_with("/jobs") && *method == "post";
        let makes = *method == "post" && ["/members", "/tokens", "/claim"].iter().any(|end| path.ends_with(end));
        let done = if submits || makes || path.ends_with("/resume-after-failure") {
            "201"
        } else if path.ends_with("/jobs/{job}") && *method == "delete" {
            "204"
        } else {
            "200"
        };
        let mut operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": { done: { "description": "Done" }, "default": problem },
        });
        if let Some(schema) =
            by_hand::body_schema(path).filter(|_| *method == "post").or_else(|| people::body_schema(method, path))
        {
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        if submits {
            operation["parameters"].as_array_mut().into_iter().for_each(|parameters| {
                for (name, place) in [("name", "query"), ("Idempotency-Key", "header"), ("X-Content-SHA256", "header")]
                {
                    parameters.push(json!({ "name": name, "in": place, "schema": { "type": "string" } }));
                }
            });
            operation["requestBody"] = json!({
                "required": true, "content": { "application/octet-stream": {} },
            });
        }
        paths[*path][*method] = operation;
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": { "title": "fab-agent", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": { "Problem": { "type": "object", "properties": {
                "type": { "type": "string" }, "code": { "type": "string" }, "status": { "type": "integer" },
                "title": { "type": "string" }, "detail": { "type": "string" },
            }, "required": ["type", "code", "status", "title"] } },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
            },
        },
        "security": [{}, { "token": [] }, { "key": [] }],
    }))
}
