/// How a document of some windows is divided into context and running text.
///
/// The running text is the end of the document. The context before it is cut into whole chunks from its end, so that the
/// chunks of a shorter context are among those of a longer one; tokens before the first whole chunk are left out. The
/// running text has the same size at every length, but at most half of the document, as the paper's 4K = 2K + 2K.
/// Source: arXiv 2410.19318, section 4.1.
struct PerplexityLayout {
  /// Tokens of a window.
  let window: Int
  let chunkSize: Int
  /// Tokens of the running text where the document is long enough.
  let runningText: Int
  /// Predicted tokens that count: the last ones of the document.
  let scored: Int

  struct Parts: Equatable {
    /// Chunks, in order: tokens of the document.
    var chunks: [Range<Int>]
    var runningText: Range<Int>
  }

  /// - Parameter documentLength: tokens of the whole document, of which this layout takes the last.
  func parts(windows: Int, documentLength: Int) -> Parts {
    let length = windows * window
    // The scored tokens are predicted from tokens of the running text.
    let running = min(length, max(min(runningText, length / 2), scored + 1))
    let start = documentLength - running
    let count = (length - running) / chunkSize
    return Parts(
      chunks: (0..<count).map { start - (count - $0) * chunkSize..<start - (count - 1 - $0) * chunkSize },
      runningText: start..<documentLength)
  }
}
