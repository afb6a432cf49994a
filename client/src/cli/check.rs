//! `scangate check`: may these images be deployed?

use clap::Args;
use scangate_client::{
    BatchDecision, Decision, NotAllowed, Refusal, Rejection,
    v1::{BatchEvaluateGateRequest, EvaluateGateRequest, Platform, WatchScanRequest},
};

use crate::{
    args::{Output, Span, parse_pair, parse_platform},
    decision_page,
    failure::{Failure, of_rejection},
    json,
    outcome::{Answer, Outcome},
    page::Page,
    progress,
    session::Session,
    words,
};

/// The request of `scangate check`.
#[derive(Debug, Args)]
#[command(after_help = "\
An image is allowed only on an enforced ALLOW with a reference pinned by digest, which is printed: deploy exactly that.
With --policy the answer is advice: exit status 0 then means that this policy alone would allow the image.
JSON: for one image the decision, for several the whole BatchEvaluateGateResponse.")]
pub(crate) struct Check {
    /// The images, up to 100: registry/repository:tag, or with @sha256:…; without a registry, the server's default one.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Where they will run, e.g. prod; without it they must satisfy the policies of every environment.
    #[arg(long, value_name = "ENVIRONMENT", default_value = "", hide_default_value = true)]
    env: String,
    /// Only this platform of an index, e.g. linux/amd64; may be repeated.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    platform: Vec<Platform>,
    /// Ask for advice under this policy alone, e.g. policies/strict.
    #[arg(long, value_name = "NAME", value_parser = words::parse_policy_name)]
    policy: Option<String>,
    /// How long the gate may wait for a running scan to end, e.g. 5m.
    #[arg(long, value_name = "DURATION")]
    wait: Option<Span>,
    /// How old the gate's knowledge of the findings may be; 0s reads ECR now.
    #[arg(long, value_name = "DURATION")]
    max_findings_age: Option<Span>,
    /// Context to keep with the decision, e.g. pipeline=42; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// Revision token of a policy write that the decision must see.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    at_least_as_fresh: String,
}

impl Check {
    pub(crate) async fn run(self, session: &Session) -> Result<Answer, Failure> {
        match self.images.as_slice() {
            [image] => self.one(session, image).await,
            images => self.several(session, images).await,
        }
    }

    async fn one(&self, session: &Session, image: &str) -> Result<Answer, Failure> {
        let evaluation = session.client.evaluate(self.request(image));
        let decision = progress::during(session, self.watch(image), evaluation).await?;
        let refusal = self.refusal(&decision);
        let outcome = refusal.as_ref().map_or(Outcome::Success, Outcome::of_refusal);
        let text = session.render(&*decision, |decision| {
            let mut page = Page::default();
            decision_page::write(&mut page, image, decision, refusal.as_ref());
            page
        })?;
        let remarks = distrust(session, image, refusal.as_ref()).into_iter().collect();
        Ok(Answer { text, outcome, remarks })
    }

    async fn several(&self, session: &Session, images: &[String]) -> Result<Answer, Failure> {
        let requests = images.iter().map(|image| self.request(image)).collect();
        // One bar can follow one scan; the first image's stands for the release's.
        let watch = images.first().and_then(|image| self.watch(image));
        let evaluation = session.client.batch_evaluate(BatchEvaluateGateRequest { requests });
        let batch = progress::during(session, watch, evaluation).await?;
        let outcome = batch.items().iter().map(|item| self.outcome(item)).max().unwrap_or(Outcome::Failed);
        let remarks = images.iter().zip(batch.items()).filter_map(|(image, item)| {
            let refusal = item.as_ref().ok().and_then(|decision| self.refusal(decision));
            distrust(session, image, refusal.as_ref())
        });
        let remarks = remarks.collect();
        let text = match session.output {
            Output::Table => self.batch_page(images, &batch).into_text(),
            Output::Json => {
                let mut message = batch.into_inner();
                json::retain_known_details(&mut message);
                json::pretty(&message)?
            }
        };
        Ok(Answer { text, outcome, remarks })
    }

    fn request(&self, image: &str) -> EvaluateGateRequest {
        EvaluateGateRequest {
            image: image.to_owned(),
            environment: self.env.clone(),
            platforms: self.platform.clone(),
            policy: self.policy.clone().unwrap_or_default(),
            wait: self.wait.map(Into::into),
            max_findings_age: self.max_findings_age.map(Into::into),
            at_least_as_fresh: self.at_least_as_fresh.clone(),
            labels: self.label.iter().cloned().collect(),
            request_id: String::new(),
        }
    }

    fn watch(&self, image: &str) -> Option<WatchScanRequest> {
        self.wait?;
        Some(WatchScanRequest { image: image.to_owned(), platforms: self.platform.clone() })
    }

    /// What stands against deploying, given what was asked for.
    fn refusal(&self, decision: &Decision) -> Option<NotAllowed> {
        let allowed = if self.policy.is_some() {
            decision.require_allowed_as_advice()
        } else if !self.platform.is_empty() && decision.deploy_image.is_empty() {
            decision.require_allowed_manifests().map(drop)
        } else {
            decision.require_allowed().map(drop)
        };
        allowed.err()
    }

    fn outcome(&self, item: &Result<Decision, Rejection>) -> Outcome {
        match item {
            Ok(decision) => self.refusal(decision).as_ref().map_or(Outcome::Success, Outcome::of_refusal),
            Err(rejection) => of_rejection(rejection),
        }
    }

    fn batch_page(&self, images: &[String], batch: &BatchDecision) -> Page {
        let mut page = Page::default();
        let mut allowed = 0;
        for (image, item) in images.iter().zip(batch.items()) {
            match item {
                Ok(decision) => {
                    let refusal = self.refusal(decision);
                    allowed += usize::from(refusal.is_none());
                    decision_page::write(&mut page, image, decision, refusal.as_ref());
                }
                Err(rejection) => {
                    page.line(&format!("FAILED  {image}"));
                    page.line(&format!("  {rejection}"));
                }
            }
            page.blank();
        }
        page.line(&format!("{allowed} of {} images allowed", images.len()));
        page
    }
}

/// JSON shows the decision as the gate sent it; that it is not to be trusted must be said beside it.
fn distrust(session: &Session, image: &str, refusal: Option<&NotAllowed>) -> Option<String> {
    let refusal = refusal.filter(|_| session.output == Output::Json)?;
    let plain = matches!(refusal.refusal, Refusal::Denied | Refusal::Indeterminate);
    (!plain).then(|| format!("{image}: {}", refusal.refusal))
}
