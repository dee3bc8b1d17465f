/// The steps of a definition with their patterns compiled.
struct StepPlan: Sendable {
  fileprivate let normalizers: [CompiledNormalizer]
  fileprivate let splits: [CompiledSplit]
  /// Steps follow the one that turns bytes into symbols, so that words are spelled in `ByteAlphabet`.
  let mapsBytes: Bool
  /// Whether the text is rewritten before it is split.
  var normalizes: Bool { !normalizers.isEmpty }

  /// - Throws: `TokenizerError` for patterns that are malformed or not known.
  init(_ definition: TokenizerDefinition) throws(TokenizerError) {
    var normalizers: [CompiledNormalizer] = []
    for (index, step) in definition.normalizers.enumerated() {
      var matcher: TextMatcher?
      if case .replace(let pattern, _) = step { matcher = try TextMatcher(pattern, "normalizer \(index)") }
      normalizers.append(CompiledNormalizer(step: step, matcher: matcher))
    }
    var splits: [CompiledSplit] = []
    var mapsBytes = false
    for (index, step) in definition.splits.enumerated() {
      var matcher: TextMatcher?
      if case .split(let pattern, _, _) = step { matcher = try TextMatcher(pattern, "pre_tokenizer \(index)") }
      if case .byteLevel = step { mapsBytes = index + 1 < definition.splits.count }
      splits.append(CompiledSplit(step: step, matcher: matcher))
    }
    self.normalizers = normalizers
    self.splits = splits
    self.mapsBytes = mapsBytes
  }

  /// Rewrites a stretch of text.
  /// - Parameters:
  ///   - continuing: nothing that stands for a space is put in front.
  ///   - steps: what looking for patterns may still cost.
  func normalize(_ text: inout NormalizedText, continuing: Bool, _ steps: inout Int) {
    for normalizer in normalizers {
      if continuing, case .prepend(let prefix) = normalizer.step, prefix == spaceMark || prefix == [0x20] { continue }
      text.apply(normalizer.step, normalizer.matcher, &steps)
    }
  }

  /// Splits a stretch of text into words.
  func split(_ words: inout WordList, continuing: Bool, _ steps: inout Int) {
    for split in splits { words.apply(split.step, split.matcher, continuing, mapsBytes: mapsBytes, &steps) }
  }
}

private struct CompiledNormalizer: Sendable {
  let step: NormalizerStep
  let matcher: TextMatcher?
}

private struct CompiledSplit: Sendable {
  let step: SplitStep
  let matcher: TextMatcher?
}

/// A pattern, ready to be looked for.
enum TextMatcher: Sendable {
  case literal([UInt8])
  case expression(PatternProgram)

  init(_ pattern: TextPattern, _ structure: String) throws(TokenizerError) {
    switch pattern {
    case .literal(let bytes): self = .literal(bytes)
    case .expression(let bytes):
      do throws(PatternError) {
        self = .expression(try PatternProgram(String(decoding: bytes, as: UTF8.self)))
      } catch {
        throw TokenizerError(.unsupported, structure, "its pattern has \(error.fault), at character \(error.offset)")
      }
    }
  }

  /// The matches in a range of a text, which is the whole text to them.
  /// - Parameter steps: what looking may still cost.
  func appendMatches(
    in text: Span<UInt8>, _ range: Range<Int>, to matches: inout [Range<Int>], _ steps: inout Int
  ) {
    switch self {
    case .literal(let literal):
      guard !literal.isEmpty else { return }
      var offset = range.lowerBound
      search: while offset + literal.count <= range.upperBound {
        for index in literal.indices where text[offset + index] != literal[index] {
          offset += 1
          continue search
        }
        matches.append(offset..<offset + literal.count)
        offset += literal.count
      }
    case .expression(let program):
      var matcher = PatternMatcher(program, text, range, steps: steps)
      matcher.appendMatches(to: &matches)
      steps = matcher.remainingSteps
    }
  }
}
