//! Whether a new generation deserves to serve: better than just showing what is popular, and no worse than the champion
//! where the two were measured on the same events.

use tastemaker_artifacts::Evaluation;

/// Relative loss against the champion that counts as noise.
const TOLERANCE: f64 = 0.01;

/// What the metrics say about a new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may serve.
    Fit,
    /// It should not, for this reason (the end of a sentence that begins with "not promoted: ").
    Unfit(String),
    /// Nothing was held out, so nobody can tell; it may serve.
    Unmeasured,
}

/// Judges by `recall@k`.
pub(crate) fn judge(new: Option<&Evaluation>, champion: Option<&Evaluation>, k: usize) -> Verdict {
    let Some(new) = new else {
        return Verdict::Unmeasured;
    };
    let metric = format!("recall@{k}");
    let value = |metrics: &tastemaker_artifacts::Metrics| metrics.get(&metric).copied().unwrap_or(0.0);
    let (model, popular) = (value(&new.model), value(&new.popularity));
    if model < popular {
        return Verdict::Unfit(format!(
            "its {metric} of {model:.4} is below the {popular:.4} of just showing what is popular"
        ));
    }
    let same_events = |champion: &&Evaluation| {
        champion.cutoff == new.cutoff && champion.users == new.users && champion.model.contains_key(&metric)
    };
    match champion.filter(same_events).map(|champion| value(&champion.model)) {
        Some(champion) if model < champion * (1.0 - TOLERANCE) => Verdict::Unfit(format!(
            "its {metric} of {model:.4} is below the champion's {champion:.4} on the same events"
        )),
        _ => Verdict::Fit,
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_types::Timestamp;

    use super::*;

    fn evaluation(model: f64, popularity: f64) -> Evaluation {
        let metrics = |value| [("recall@20".to_owned(), value)].into_iter().collect();
        Evaluation {
            holdout: 0.1,
            cutoff: Timestamp::EPOCH,
            users: 10,
            model: metrics(model),
            popularity: metrics(popularity),
        }
    }

    #[test]
    fn a_model_must_beat_popularity() {
        assert_eq!(judge(Some(&evaluation(0.2, 0.1)), None, 20), Verdict::Fit);
        let Verdict::Unfit(reason) = judge(Some(&evaluation(0.1, 0.2)), None, 20) else { panic!("must be unfit") };
        assert!(reason.contains("0.1000 is below the 0.2000"), "{reason}");
        assert_eq!(judge(None, Some(&evaluation(0.9, 0.1)), 20), Verdict::Unmeasured);
    }

    #[test]
    fn a_model_must_not_be_worse_than_the_champion_on_the_same_events() {
        let champion = evaluation(0.3, 0.1);
        assert!(matches!(judge(Some(&evaluation(0.25, 0.1)), Some(&champion), 20), Verdict::Unfit(_)));
        assert_eq!(judge(Some(&evaluation(0.2985, 0.1)), Some(&champion), 20), Verdict::Fit);
        let later = Evaluation { cutoff: Timestamp::from_micros(1), ..evaluation(0.25, 0.1) };
        assert_eq!(judge(Some(&later), Some(&champion), 20), Verdict::Fit, "other events are another yardstick");
    }
}
