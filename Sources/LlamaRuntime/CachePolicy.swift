/// Which tokens of the running text later ones attend to, and at which positions.
public enum CachePolicy: Sendable, Hashable {
  /// All of them: the cache grows with the text.
  case full
  /// StreamingLLM: the first tokens (attention sinks) and the most recent ones, a token itself among them, in memory
  /// that does not grow. Positions are places in the cache: token t stands at slot min(t, sinks + recent - 1), its
  /// distance to a recent token is that in the text, its distance to a sink that of their slots. Up to sinks + recent
  /// tokens this is the full cache, to the bit. What a token sees does not depend on how many are read together.
  ///
  /// Source: arXiv 2309.17453, section 3.2.
  case streaming(sinks: Int, recent: Int)

  /// Tokens that one token sees, at most, itself among them; nil without a limit.
  public var slotCount: Int? {
    switch self {
    case .full: nil
    case .streaming(let sinks, let recent): sinks + recent
    }
  }
}
