internal import FileAccess
internal import PackedTiles

/// The keys and values of consecutive tokens of a text in every layer, as the kernels read them: mapped from a file or
/// freshly read. Safe to use from any thread.
@safe public struct TextRows: Sendable {
  public let layout: TextRowLayout
  /// Of each head: (layer, kv head).
  public let rowCounts: [Int]
  /// The most that a head has.
  public let rowCount: Int
  /// `layout.byteCount(rowCounts:)` bytes.
  public let storage: BlockBytes
  /// Where each head lies.
  private let byteOffsets: [Int]

  /// As many rows in each head.
  /// - Precondition: the storage has as many bytes as the layout says.
  public init(_ storage: BlockBytes, layout: TextRowLayout, rowCount: Int) {
    self.init(
      storage, layout: layout,
      rowCounts: [Int](repeating: rowCount, count: layout.layerCount * layout.kvHeadCount))
  }

  /// - Parameter rowCounts: of each head: (layer, kv head); positive.
  /// - Precondition: the storage has as many bytes as the layout says.
  public init(_ storage: BlockBytes, layout: TextRowLayout, rowCounts: [Int]) {
    precondition(
      rowCounts.count == layout.layerCount * layout.kvHeadCount
        && storage.byteCount == layout.byteCount(rowCounts: rowCounts), "text rows have the bytes of their layout")
    self.layout = layout
    self.rowCounts = rowCounts
    rowCount = rowCounts.max() ?? 0
    self.storage = storage
    byteOffsets = layout.byteOffsets(rowCounts: rowCounts)
  }

  /// Whether each head has as many rows.
  package var isEven: Bool { rowCounts.allSatisfy { $0 == rowCount } }

  package func rowCount(head: Int, layer: Int) -> Int { rowCounts[layer * layout.kvHeadCount + head] }

  /// A head in a layer, for the kernels; where heads have as many rows, the next head follows after
  /// `layout.headByteCount(rows:)`. Valid as long as the storage lives.
  @unsafe package func head(_ head: Int, layer: Int) -> UnsafeRawPointer {
    unsafe storage.unsafeBytes.baseAddress! + byteOffsets[layer * layout.kvHeadCount + head]
  }
}

extension TextRowLayout {
  fileprivate func byteOffsets(rowCounts: [Int]) -> [Int] {
    var offset = 0
    return rowCounts.map { rows in
      defer { offset += headByteCount(rows: rows) }
      return offset
    }
  }
}

/// Makes the rows of a text, head by head. Not thread-safe, but different heads may be written at the same time.
@safe package final class TextRowWriter: @unchecked Sendable {
  package let layout: TextRowLayout
  /// Of each head: (layer, kv head).
  private let rowCounts: [Int]
  private let byteOffsets: [Int]
  private let memory: AlignedMemory

  /// As many rows in each head.
  package convenience init(layout: TextRowLayout, rowCount: Int) {
    self.init(
      layout: layout, rowCounts: [Int](repeating: rowCount, count: layout.layerCount * layout.kvHeadCount))
  }

  /// - Parameter rowCounts: of each head: (layer, kv head); positive.
  package init(layout: TextRowLayout, rowCounts: [Int]) {
    self.layout = layout
    self.rowCounts = rowCounts
    byteOffsets = layout.byteOffsets(rowCounts: rowCounts)
    memory = AlignedMemory(byteCount: layout.byteCount(rowCounts: rowCounts), isZeroed: true)
  }

  /// Where a head goes. Valid as long as this object lives.
  @unsafe package func head(_ head: Int, layer: Int) -> UnsafeMutableRawPointer {
    unsafe memory.base + byteOffsets[layer * layout.kvHeadCount + head]
  }

  /// Writes all rows of a head.
  /// - Parameters:
  ///   - keys, values: (rows, head dim), not mixed.
  /// - Returns: false when a value is not finite.
  package func write(head: Int, layer: Int, keys: [Float], values: [Float]) -> Bool {
    let rowCount = rowCounts[layer * layout.kvHeadCount + head]
    precondition(keys.count == rowCount * layout.headDim && values.count == keys.count, "as many numbers as rows have")
    return unsafe keys.withUnsafeBufferPointer { keys in
      unsafe values.withUnsafeBufferPointer { values in
        guard layout.isPacked else {
          let target = unsafe self.head(head, layer: layer)
          let stored = unsafe store(floats: keys, at: target)
          return unsafe store(floats: values, at: target + layout.floatByteCount(rows: rowCount)) && stored
        }
        return (0..<(rowCount + TextRowLayout.rowsTogether - 1) / TextRowLayout.rowsTogether).allSatisfy { block in
          let offset = block * TextRowLayout.rowsTogether * layout.headDim
          return unsafe write(
            block: block, head: head, layer: layer, keys: keys.baseAddress! + offset,
            values: values.baseAddress! + offset)
        }
      }
    }
  }

  @unsafe private func store(floats: UnsafeBufferPointer<Float>, at target: UnsafeMutableRawPointer) -> Bool {
    let byteCount = floats.count * layout.encoding.element.byteCount
    if layout.encoding == .float16 {
      unsafe PackedTiles.narrowToFloat16(
        floats, into: UnsafeMutableRawBufferPointer(start: target, count: byteCount))
    } else {
      unsafe target.copyMemory(from: floats.baseAddress!, byteCount: byteCount)
    }
    return unsafe PackedTiles.allFinite(floats)
  }

  /// Packs the rows of a block: 64, or what is left in the last one.
  /// - Parameters:
  ///   - keys, values: (rows, head dim) float32, not mixed.
  /// - Returns: false when a value is not finite.
  @unsafe package func write(
    block: Int, head: Int, layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>
  ) -> Bool {
    let together = TextRowLayout.rowsTogether
    let rowCount = rowCounts[layer * layout.kvHeadCount + head]
    precondition(layout.isPacked && block * together < rowCount, "floats are not packed in blocks")
    let rows = min(rowCount - block * together, together)
    let headDim = layout.headDim
    let layout = self.layout.block(rows: rows)
    let start = unsafe self.head(head, layer: layer) + block * self.layout.block(rows: together).byteCount
    return unsafe layout.write(
      keys: UnsafeBufferPointer(start: keys, count: rows * headDim),
      values: UnsafeBufferPointer(start: values, count: rows * headDim), to: start, start + layout.keyByteCount)
  }

  /// The rows, when all heads have been written. Nothing may be written after it.
  package func finish() -> TextRows { TextRows(BlockBytes(memory), layout: layout, rowCounts: rowCounts) }
}
