import Glibc

/// Another scaling of rotary positions than a pack's own: texts beyond the trained window are read without training.
public struct PositionScaling: Sendable, Hashable {
  public enum Rule: String, Sendable, Hashable, CaseIterable {
    /// Positions as they are, whatever the pack says; the window stays.
    case none
    /// Positions divided by the factor. Source: arXiv 2306.15595.
    case linear
    /// A base that is multiplied by factor^(d / (d - 2)), d numbers a head, for texts of any length.
    case ntk
    /// A base that grows with the text once it is longer than the trained window.
    case dynamicNTK = "dynamic-ntk"
    /// Source: arXiv 2309.00071.
    case yarn
    /// LLaMA 3.1's rule, with its low and high frequency factors of 1 and 4.
    case llama3
  }

  public let rule: Rule
  /// How many times the window grows; 1 for `none`.
  public let factor: Double
  /// The window that grows; nil: the pack's.
  public let originalPositionCount: Int?

  public init(_ rule: Rule, factor: Double = 1, originalPositionCount: Int? = nil) {
    self.rule = rule
    self.factor = rule == .none ? 1 : factor
    self.originalPositionCount = rule == .none ? nil : originalPositionCount
  }

  /// The configuration of a model that reads so.
  /// - Precondition: `fault(of:)` is nil.
  package func applied(to configuration: LlamaConfiguration) -> LlamaConfiguration {
    var result = configuration
    let original = originalPositionCount ?? configuration.maxPositionCount
    result.maxPositionCount = Int(factor * Double(original))
    switch rule {
    case .none: result.ropeScaling = .none
    case .linear: result.ropeScaling = .linear(factor: factor)
    case .ntk:
      let dimension = Double(configuration.headDim)
      result.ropeScaling = .none
      result.ropeTheta *= pow(factor, dimension / (dimension - 2))
    case .dynamicNTK: result.ropeScaling = .dynamic(factor: factor, originalPositionCount: original)
    case .yarn:
      result.ropeScaling = .yarn(
        RopeScaling.Yarn(
          factor: factor, originalPositionCount: original, betaFast: 32, betaSlow: 1,
          attentionFactor: 0.1 * log(factor) + 1, truncates: true))
    case .llama3:
      result.ropeScaling = .llama3(
        factor: factor, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalPositionCount: original)
    }
    return result
  }

  /// Why a model cannot be read so, in words; nil when it can.
  package func fault(of configuration: LlamaConfiguration) -> String? {
    guard factor >= 1, factor < 1e9 else { return "factor is \(factor); it must be 1 or more" }
    let original = originalPositionCount ?? configuration.maxPositionCount
    guard original >= 1, factor * Double(original) <= Double(1 << 30) else {
      return "\(factor) times a window of \(original) tokens is not 1 to \(1 << 30)"
    }
    guard configuration.headDim > 2 || rule != .ntk && rule != .dynamicNTK else {
      return "headDim 2 has one pair, whose angles do not depend on the base"
    }
    return applied(to: configuration).fault(sharedLLM: nil)
  }

  /// What decides the angles, in short printable ASCII: `linear 4.0`, `yarn 4.0 of 512`.
  package func numerics(of configuration: LlamaConfiguration) -> String {
    let original = originalPositionCount ?? configuration.maxPositionCount
    switch rule {
    case .none: return rule.rawValue
    case .linear, .ntk: return "\(rule.rawValue) \(factor)"
    case .dynamicNTK, .yarn, .llama3: return "\(rule.rawValue) \(factor) of \(original)"
    }
  }
}
