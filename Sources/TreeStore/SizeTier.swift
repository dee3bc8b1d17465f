/// Files of one tier are merged when there are many of them.
/// Format: `Formats/tree-store.md`, merging.
enum SizeTier {
  /// How often a size must be multiplied to be as large as a file.
  static func of(_ byteCount: Int, from first: Int, times factor: Int) -> Int {
    var tier = 0
    var size = first
    // What is too large to be merged is of one size, whatever a manifest says of it.
    while size < min(byteCount, 1 << 32) {
      size *= factor
      tier += 1
    }
    return tier
  }
}
