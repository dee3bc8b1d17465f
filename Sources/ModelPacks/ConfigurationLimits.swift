/// The numbers that are accepted for a model. They bound every product of sizes far below overflow.
/// Format: `Formats/model-pack.md` §Metadata.
extension LlamaConfiguration {
  /// The fault of the configuration, in words; nil when there is none.
  public func fault(sharedLLM: SharedLLMConfiguration?) -> String? {
    let positive: [(String, Int, Int)] = [
      ("hiddenSize", hiddenSize, 1 << 18), ("intermediateSize", intermediateSize, 1 << 20),
      ("layerCount", layerCount, 1024), ("headCount", headCount, 4096), ("kvHeadCount", kvHeadCount, 4096),
      ("headDim", headDim, 1024), ("vocabularySize", vocabularySize, 1 << 24),
      ("maxPositionCount", maxPositionCount, 1 << 30),
    ]
    for (name, value, limit) in positive where value < 1 || value > limit {
      return "\(name) is \(value); it must be 1 to \(limit)"
    }
    if headCount % kvHeadCount != 0 { return "kvHeadCount \(kvHeadCount) does not divide headCount \(headCount)" }
    if headDim % 2 != 0 { return "headDim \(headDim) is odd; rotary positions turn pairs" }
    if !(rmsNormEpsilon > 0 && rmsNormEpsilon < 1) { return "rmsNormEpsilon \(rmsNormEpsilon) is not in 0 ..< 1" }
    if !(ropeTheta > 1 && ropeTheta < 1e15) { return "ropeTheta \(ropeTheta) is not in 1 ..< 1e15" }
    for token in [beginOfTextToken].compactMap(\.self) + endOfTextTokens
    where token < 0 || token >= vocabularySize {
      return "token \(token) is not in the vocabulary of \(vocabularySize)"
    }
    if endOfTextTokens.count > 64 { return "there are more than 64 endOfTextTokens" }
    return ropeScaling.fault(headDim: headDim) ?? sharedLLM?.fault(of: self)
  }
}

extension RopeScaling {
  fileprivate func fault(headDim: Int) -> String? {
    func fault(_ numbers: [(String, Double)], positions: Int = 1) -> String? {
      for (name, value) in numbers where !(value > 0 && value < 1e9) {
        return "ropeScaling: \(name) is \(value); it must be positive"
      }
      return positions < 1 || positions > 1 << 30
        ? "ropeScaling: originalPositionCount is \(positions)" : nil
    }
    switch self {
    case .none: return nil
    case .linear(let factor): return fault([("factor", factor)])
    case .dynamic(let factor, let positions): return fault([("factor", factor)], positions: positions)
    case .yarn(let yarn):
      return fault(
        [
          ("factor", yarn.factor), ("betaFast", yarn.betaFast), ("betaSlow", yarn.betaSlow),
          ("attentionFactor", yarn.attentionFactor),
        ], positions: yarn.originalPositionCount)
    case .llama3(let factor, let low, let high, let positions):
      if !(low < high) { return "ropeScaling: lowFrequencyFactor \(low) is not below highFrequencyFactor \(high)" }
      return fault(
        [("factor", factor), ("lowFrequencyFactor", low), ("highFrequencyFactor", high)], positions: positions)
    case .divisors(let divisors):
      if divisors.count != headDim / 2 {
        return "ropeScaling: there are \(divisors.count) divisors; headDim \(headDim) has \(headDim / 2) pairs"
      }
      return fault(divisors.enumerated().map { ("divisor \($0)", $1) })
    }
  }
}

extension SharedLLMConfiguration {
  /// The ranges that context trees have.
  fileprivate func fault(of llama: LlamaConfiguration) -> String? {
    let ranges: [(String, Int, ClosedRange<Int>)] = [
      ("injectedLayerCount", injectedLayerCount, 1...llama.layerCount), ("chunkSize", chunkSize, 1...65536),
      ("treeDepth", treeDepth, 1...8), ("leafRatio", leafRatio, 1...max(chunkSize, 1)),
    ]
    for (name, value, range) in ranges where !range.contains(value) {
      return "sharedLLM: \(name) is \(value); it must be \(range.lowerBound) to \(range.upperBound)"
    }
    return encoder.flatMap { encoderFault($0, of: llama).map { "sharedLLM: \($0)" } }
  }

  private func encoderFault(_ encoder: LlamaConfiguration, of llama: LlamaConfiguration) -> String? {
    if let fault = encoder.fault(sharedLLM: nil) { return "encoder: \(fault)" }
    if positionMode != .none { return "positionMode is \(positionMode.rawValue); the states of an encoder have none" }
    if lowerModel != .own || injection != .crossAttention {
      return "an encoder is a lower model of its own, which cross-attention reads"
    }
    if encoder.vocabularySize != llama.vocabularySize {
      return "encoder: vocabularySize is \(encoder.vocabularySize); the model's is \(llama.vocabularySize)"
    }
    if encoder.hiddenSize != encoder.headCount * encoder.headDim {
      return "encoder: hiddenSize \(encoder.hiddenSize) is not that of \(encoder.headCount) heads of \(encoder.headDim)"
    }
    if encoder.headDim % 4 != 0 { return "encoder: headDim \(encoder.headDim) is not a multiple of 4" }
    if chunkSize > encoder.maxPositionCount {
      return "chunkSize is \(chunkSize); the encoder was trained for \(encoder.maxPositionCount) positions"
    }
    return nil
  }
}
