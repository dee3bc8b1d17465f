internal import FileAccess
internal import NodeBlocks

/// The rows of InfLLM's blocks, each block of each layer as a node of one layer: what leaves the window is kept as trees
/// are.
@safe final class BlockRows {
  private let layout: NodeBlockLayout
  /// Tokens of a block.
  private let rowCount: Int
  /// Blocks of a layer that there is room for.
  private let capacity: Int
  private let blockByteCount: Int
  private let layerCount: Int
  /// Keeps the memory.
  private let owner: AnyObject
  @unsafe private let base: UnsafeMutableRawPointer
  /// The rows of the first block of the first layer.
  private let first: RowSpan

  /// - Parameters:
  ///   - tokens: that there may be blocks of.
  ///   - queryAngle: by what queries are turned before they meet the keys.
  ///   - scratch: the memory; nil for some of the process's own.
  init(
    layerCount: Int, layout: NodeBlockLayout, block: Int, tokens: Int, queryAngle: RowSpan.QueryAngle,
    scratch: ScratchMapping?
  ) {
    self.layout = layout
    self.layerCount = layerCount
    rowCount = block
    capacity = max(tokens, 0) / block
    blockByteCount = layout.byteCount(rows: block)
    let byteCount = Self.byteCount(layerCount: layerCount, layout, block: block, tokens: tokens)
    if let scratch {
      precondition(scratch.byteCount >= byteCount, "the memory was made for fewer rows")
      owner = scratch
      unsafe base = scratch.base
    } else {
      let memory = AlignedMemory(byteCount: max(byteCount, 1))
      owner = memory
      unsafe base = memory.base
    }
    let start = unsafe UnsafeRawPointer(base)
    first = unsafe .node(
      layout, rowCount: block, keys: start + layout.keyByteOffset(layer: 0, head: 0, rows: block),
      values: start + layout.valueByteOffset(layer: 0, head: 0, rows: block), queryAngle: queryAngle)
  }

  /// Bytes of the blocks of all layers that a number of tokens makes; `Int.max` for more than there are.
  static func byteCount(layerCount: Int, _ layout: NodeBlockLayout, block: Int, tokens: Int) -> Int {
    let (bytes, overflow) = (layerCount * layout.byteCount(rows: block))
      .multipliedReportingOverflow(by: max(tokens, 0) / block)
    return overflow ? .max : bytes
  }

  /// Bytes of a number of blocks of all layers.
  func byteCount(blocks: Int) -> Int { layerCount * blocks * blockByteCount }

  var byteCount: Int { byteCount(blocks: capacity) }

  private func offset(layer: Int, block: Int) -> Int {
    precondition(block < capacity, "the memory was made for fewer blocks")
    return (layer * capacity + block) * blockByteCount
  }

  /// - Parameter keys, values: (block, kv heads · head dim). Numbers that are not finite have no defined rows: a model that
  ///   overflows gives no useful answer in any case.
  func write(layer: Int, block: Int, keys: FloatBuffer, values: FloatBuffer) {
    let writer = NodeBlockWriter(layout: layout, keeping: Array(0..<rowCount))
    _ = unsafe writer.write(layer: 0, keys: keys.base, values: values.base)
    let bytes = writer.finish().storage
    guard let source = unsafe bytes.unsafeBytes.baseAddress else { return }
    unsafe (base + offset(layer: layer, block: block)).copyMemory(from: source, byteCount: bytes.byteCount)
  }

  /// All rows of a block.
  func span(layer: Int, block: Int) -> RowSpan { first.moved(byBytes: offset(layer: layer, block: block)) }
}
