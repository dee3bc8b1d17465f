/// Which tokens of the running text later ones attend to, and at which positions.
public enum CachePolicy: Sendable, Hashable {
  /// All of them: the cache grows with the text.
  case full
  /// StreamingLLM: the first tokens (attention sinks) and the most recent ones, including the token itself, in memory
  /// that does not grow. Positions are slots of the cache: token t has slot min(t, sinks + recent - 1). Its distance to
  /// a recent token is the one in the text, its distance to a sink the one between their slots. Up to sinks + recent
  /// tokens this equals the full cache bit for bit. What a token sees does not depend on how many are read together.
  ///
  /// Source: arXiv 2309.17453, section 3.2.
  case streaming(sinks: Int, recent: Int)

  /// The most tokens that one token sees, itself included; nil without a limit.
  public var slotCount: Int? {
    switch self {
    case .full: nil
    case .streaming(let sinks, let recent): sinks + recent
    }
  }
}
