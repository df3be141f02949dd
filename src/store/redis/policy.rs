//! The server's `maxmemory-policy`: a server that evicts keys loses the lists by which revocations find sessions.

use std::time::Duration;

use redis::Value;

use super::link::Link;
use crate::error::ConfigError;

/// Refuses a server that evicts keys, and warns of one that does not say.
pub(super) async fn check(link: &Link, patience: Duration) -> Result<(), ConfigError> {
    let mut command = redis::cmd("INFO");
    let asked = tokio::time::timeout(patience, link.send(command.arg("memory"))).await;
    let mut policies = Vec::new();
    if let Ok(Ok(answer)) = asked {
        collect(&answer, &mut policies);
    }
    if policies.is_empty() {
        tracing::warn!(
            name: "session.redis.policy_unknown",
            "the server does not tell its maxmemory-policy, which must be noeviction"
        );
    }
    match policies.into_iter().find(|policy| policy != "noeviction") {
        Some(policy) => Err(ConfigError::RedisEviction(policy)),
        None => Ok(()),
    }
}

/// Collects the policies out of an answer, which is a text, or in a Cluster one of each node.
fn collect(answer: &Value, policies: &mut Vec<String>) {
    match answer {
        Value::BulkString(text) => policies.extend(policy(&String::from_utf8_lossy(text))),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => policies.extend(policy(text)),
        Value::Array(answers) => answers.iter().for_each(|answer| collect(answer, policies)),
        Value::Map(answers) => answers.iter().for_each(|(_, answer)| collect(answer, policies)),
        _ => {}
    }
}

fn policy(info: &str) -> Option<String> {
    let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?;
    Some(policy.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_every_node_is_read() {
        let text = |policy| Value::BulkString(format!("# Memory\r\nmaxmemory_policy:{policy}\r\n").into());
        let read = |answer| {
            let mut policies = Vec::new();
            collect(&answer, &mut policies);
            policies
        };
        let nodes = ["noeviction", "allkeys-lru"].map(|policy| (Value::Okay, text(policy)));
        assert_eq!(read(text("volatile-ttl")), ["volatile-ttl"]);
        assert_eq!(read(Value::Map(nodes.to_vec())), ["noeviction", "allkeys-lru"]);
        assert!(read(Value::Nil).is_empty() && read(Value::BulkString(b"maxmemory:0".to_vec())).is_empty());
    }
}
