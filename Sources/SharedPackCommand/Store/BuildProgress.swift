import SharedPack

/// How far a build is: a bar for each of a few texts, else one for all.
struct BuildProgress {
  private let mode: ProgressMode
  /// The number of texts, where it is known beforehand.
  private let textCount: Int?
  private var bar: ProgressBar
  private var label = ""
  private var texts = 0
  private var tokens = 0
  private var encodedTokens = 0
  /// When the first text came that had to be encoded, and how far it was then: what is stored already takes no time.
  private var start: (time: ContinuousClock.Instant, share: Double)?

  init(textCount: Int?, mode: ProgressMode) {
    self.textCount = textCount
    self.mode = mode
    bar = ProgressBar("Encoding", unit: .tokens, mode: mode)
  }

  /// - Parameter share: how far the reader is, where it can tell.
  mutating func show(_ event: StoreBuilder.Event, share: Double?) {
    switch event {
    case .progress(let name, let done, let encoded, let total):
      if let textCount, textCount <= 3 {
        if label != name {
          bar.finish()
          bar = ProgressBar("Encoding \(name)", unit: .tokens, mode: mode)
          label = name
        }
        bar.update(done, of: total, worked: encoded)
      } else {
        show(tokens + done, encodedTokens + encoded, part: Double(done) / Double(max(total, 1)), share)
      }
    case .added(let report):
      texts += 1
      tokens += report.tokenCount
      encodedTokens += report.encodedTokenCount
    case .leftOut: texts += 1
    }
  }

  /// Removes the bar, until it is shown again.
  mutating func clear() { bar.finish() }

  private mutating func show(_ tokens: Int, _ encodedTokens: Int, part: Double, _ share: Double?) {
    let share = textCount.map { (Double(texts) + part) / Double(max($0, 1)) } ?? share
    if start == nil, encodedTokens > 0 { start = (.now, share ?? 0) }
    let (now, shown) = (self, bar)
    bar.update(share: share ?? 0, isLast: false) { _ in
      var facts = now.textCount.map { "\(now.texts) of \($0) texts" } ?? Format.count(now.texts, "text")
      facts += "  \(shown.format(Double(tokens)))"
      guard let start = now.start else { return facts }
      let seconds = (ContinuousClock.now - start.time).seconds
      if seconds > 0 { facts += "  \(shown.format(Double(encodedTokens) / seconds))/s" }
      if let share, share > start.share {
        facts += "  \(Format.duration(seconds * (1 - share) / (share - start.share))) left"
      }
      return facts
    }
  }
}
