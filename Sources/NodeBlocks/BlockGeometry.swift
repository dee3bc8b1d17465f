/// What decides where the numbers of a block lie: its layout and how many rows it has. Blocks of few rows are mostly
/// padding, as kernels read sixteen rows at a time; a dense block has the numbers alone.
/// Format: `Formats/tree-store.md`, dense blocks.
package enum BlockGeometry: Sendable {
  case node(NodeBlockLayout, rowCount: Int)
  /// The rows of each head: (layer, kv head).
  case text(TextRowLayout, rowCounts: [Int])

  /// Bytes of the block as the kernels read it.
  package var byteCount: Int {
    switch self {
    case .node(let layout, let rowCount): layout.byteCount(rows: rowCount)
    case .text(let layout, let rowCounts): layout.byteCount(rowCounts: rowCounts)
    }
  }

  /// Bytes of the dense block; no more than those of the block.
  package var denseByteCount: Int { heads.reduce(0) { $0 + $1.denseByteCount } }

  /// Whether a store leaves the padding out: where that saves more than an eighth and 256 bytes. What is left as it is can
  /// be mapped.
  package var isStoredDense: Bool { isStoredDense(denseByteCount) }

  /// Bytes of the block in a store, if it is not compressed.
  package var storedByteCount: Int {
    let dense = denseByteCount
    return isStoredDense(dense) ? dense : byteCount
  }

  private func isStoredDense(_ denseByteCount: Int) -> Bool {
    byteCount - denseByteCount > max(byteCount / 8, 255)
  }

  /// The heads in order.
  private var heads: [HeadPieces] {
    switch self {
    case .node(let layout, let rowCount):
      return [HeadPieces](
        repeating: HeadPieces(layout, rows: rowCount), count: layout.layerCount * layout.kvHeadCount)
    case .text(let layout, let rowCounts):
      var known: [Int: HeadPieces] = [:]
      return rowCounts.map { rows in
        if let pieces = known[rows] { return pieces }
        let pieces = HeadPieces(layout, rows: rows)
        known[rows] = pieces
        return pieces
      }
    }
  }

  /// A block without its padding.
  /// - Returns: nil when its padding is not as kernels' packers make it, so that it could not be restored.
  /// - Precondition: the block has `byteCount` bytes.
  package func dense(_ block: BlockBytes) -> BlockBytes? {
    precondition(block.byteCount == byteCount, "a block has the bytes of its geometry")
    let heads = heads
    let dense = BlockBytes(byteCount: heads.reduce(0) { $0 + $1.denseByteCount }) { output in
      unsafe output.withUnsafeMutableBytes { output in
        let (source, target) = unsafe (block.unsafeBytes.baseAddress!, output.baseAddress!)
        var (from, to) = (0, 0)
        for head in heads {
          for run in head.runs {
            unsafe Self.gather(run, from: source + from, to: target + to)
            to += run.denseByteCount
          }
          from += head.byteCount
        }
      }
    }
    guard let restored = expanded(dense.bytes) else { return nil }
    let isEqual = unsafe restored.unsafeBytes.elementsEqual(block.unsafeBytes)
    return isEqual ? dense : nil
  }

  /// A dense block as the kernels read it.
  /// - Returns: nil when it is not as long as the geometry says, or bits that must be zero are not.
  package func expanded(_ dense: RawSpan) -> BlockBytes? {
    let heads = heads
    guard dense.byteCount == heads.reduce(0, { $0 + $1.denseByteCount }) else { return nil }
    var isCanonical = true
    let block = BlockBytes(byteCount: heads.reduce(0) { $0 + $1.byteCount }) { output in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe dense.withUnsafeBytes { input in
          guard let source = input.baseAddress, let target = output.baseAddress else { return }
          var (from, to) = (0, 0)
          for head in heads {
            for fill in head.fills {
              unsafe (target + to + fill.range.lowerBound).initializeMemory(
                as: UInt8.self, repeating: fill.value, count: fill.range.count)
            }
            for run in head.runs {
              if unsafe !Self.scatter(run, from: source + from, to: target + to) { isCanonical = false }
              from += run.denseByteCount
            }
            to += head.byteCount
          }
        }
      }
    }
    return isCanonical ? block : nil
  }

  @unsafe private static func gather(
    _ run: HeadPieces.Run, from head: UnsafeRawPointer, to target: UnsafeMutableRawPointer
  ) {
    let source = unsafe head + run.byteOffset
    guard run.isHalf else {
      for piece in 0..<run.count {
        unsafe (target + piece * run.width).copyMemory(from: source + piece * run.stride, byteCount: run.width)
      }
      return
    }
    let bytes = unsafe target.assumingMemoryBound(to: UInt8.self)
    var index = 0
    for piece in 0..<run.count {
      for byte in 0..<run.width {
        let half = unsafe source.load(fromByteOffset: piece * run.stride + byte, as: UInt8.self) & 15
        // The target is zeros at first.
        unsafe bytes[index / 2] |= index % 2 == 0 ? half : half << 4
        index += 1
      }
    }
  }

  /// - Returns: false when bits behind the last half are not zero.
  @unsafe private static func scatter(
    _ run: HeadPieces.Run, from source: UnsafeRawPointer, to head: UnsafeMutableRawPointer
  ) -> Bool {
    let target = unsafe head + run.byteOffset
    guard run.isHalf else {
      for piece in 0..<run.count {
        unsafe (target + piece * run.stride).copyMemory(from: source + piece * run.width, byteCount: run.width)
      }
      return true
    }
    let bytes = unsafe source.assumingMemoryBound(to: UInt8.self)
    var index = 0
    for piece in 0..<run.count {
      for byte in 0..<run.width {
        let half = unsafe index % 2 == 0 ? bytes[index / 2] & 15 : bytes[index / 2] >> 4
        // The upper half stays what the padding is.
        let old = unsafe target.load(fromByteOffset: piece * run.stride + byte, as: UInt8.self)
        unsafe target.storeBytes(of: old & 0xF0 | half, toByteOffset: piece * run.stride + byte, as: UInt8.self)
        index += 1
      }
    }
    return unsafe index % 2 == 0 || bytes[index / 2] >> 4 == 0
  }
}
