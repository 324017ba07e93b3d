//! A worker's process, seen from the service: asked a question at a time, and ended where it takes too long.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::config::Study;
use super::worker::{Answer, Request};
use crate::own;

/// Time for a process that has said its last to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Letters of a complaint, after which no further line is kept.
const MOST_COMPLAINT: usize = 400;

/// A process that runs, or ran until a moment ago.
pub struct Process {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
    /// Gives the beginning of what it said on standard error.
    complaint: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts one. It ends with the thread that calls, which has to live as long as it is needed.
    pub fn start(settings: &Study) -> Result<Process, String> {
        let mut command = own::command().map_err(|error| error.to_string())?;
        command.arg("worker").arg("--threads").arg(settings.threads.to_string());
        command.arg("--memory-mb").arg(settings.memory_mb.to_string());
        command.arg("--parent").arg(std::process::id().to_string());
        if let Some(model) = &settings.model {
            command.arg("--model").arg(model);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the worker cannot be started: {error}"))?;
        let (Some(questions), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the worker has no pipes".to_owned());
        };
        let (sender, answers) = channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let complaint = child.stderr.take().map(|complaints| {
            std::thread::spawn(move || {
                // A bound for all of it: whatever went wrong may have gone wrong there too.
                let lines = BufReader::new(complaints.take(1 << 20)).lines().map_while(Result::ok);
                // What a panic says comes before where it came from.
                lines.fold(
                    String::new(),
                    |kept, line| if kept.len() < MOST_COMPLAINT { kept + &line + " " } else { kept },
                )
            })
        });
        Ok(Process { child, questions, answers, complaint })
    }

    /// Asks; after an error the process is gone.
    pub fn ask(&mut self, request: &Request, patience: Duration) -> Result<Answer, String> {
        // Strings and paths of digits and dots always serialize.
        let line = serde_json::to_string(request).unwrap_or_default();
        let asked = writeln!(self.questions, "{line}").and_then(|()| self.questions.flush());
        if asked.is_err() {
            return Err(self.end());
        }
        match self.answers.recv_timeout(patience) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|_| format!("the worker said what it should not; {}", self.end())),
            Err(RecvTimeoutError::Disconnected) => Err(self.end()),
            Err(RecvTimeoutError::Timeout) => {
                // Whether it was still there changes nothing.
                let _ = self.child.kill();
                let ended = self.end();
                Err(format!("the worker took more than {} s and was ended: {ended}", patience.as_secs()))
            }
        }
    }

    /// Waits for its end, which comes at once or is brought about: one that closed its output may live on.
    fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let since = Instant::now();
        while since.elapsed() < FAREWELL {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        self.child.wait()
    }

    fn end(&mut self) -> String {
        let ended = match self.wait() {
            Ok(status) => format!("the worker ended: {status}"),
            Err(error) => format!("the worker ended: {error}"),
        };
        let complaint = self.complaint.take().and_then(|complaint| complaint.join().ok()).unwrap_or_default();
        let complaint = without_uids(complaint.trim());
        if complaint.is_empty() { ended } else { format!("{ended}: {complaint}") }
    }
}

/// A text in which UIDs, as names of files have them, are said to be such.
fn without_uids(text: &str) -> String {
    let is_of_uids = |c: char| c.is_ascii_digit() || c == '.';
    let mut without = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(is_of_uids) {
        let end = rest[begin..].find(|c| !is_of_uids(c)).map_or(rest.len(), |length| begin + length);
        let number = &rest[begin..end];
        without += &rest[..begin];
        // Versions, times and places in code are shorter.
        without += if number.len() > 9 && number.contains('.') { "UID." } else { number };
        rest = &rest[end..];
    }
    without + rest
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_no_uid() {
        let text =
            "cannot read /spool/studies/2.25.1234567/objects/1.2.840.10008.5.dcm: version 1.2.3, 0.5 s";
        let expected = "cannot read /spool/studies/UID./objects/UID.dcm: version 1.2.3, 0.5 s";
        assert_eq!(without_uids(text), expected);
        assert_eq!(without_uids("1.2.840.113619.2.55"), "UID.");
        assert_eq!(without_uids(""), "");
    }
}
