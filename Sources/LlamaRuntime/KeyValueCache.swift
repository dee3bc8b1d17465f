internal import CKernels
internal import PackedTiles

/// The keys and values of the tokens so far. Keys are rotated by the position of their token.
///
/// Two forms. In floats, every row stays as it was written. In int8, rows are packed into tiles 64 at a time; the rows
/// of the block that is not full are floats. A query sees the full blocks before its own block in int8 and the rows of
/// its own block in floats: which of them it sees how depends on its position alone, so that a prompt read at once and
/// one read token by token give the same bits.
@safe final class KeyValueCache {
  enum Form: Hashable {
    case floats(FloatElement)
    case int8
  }

  let form: Form
  let capacity: Int
  /// Rows that are filled in every layer.
  private(set) var count = 0
  /// The position of the first row.
  let firstPosition: Int
  private let floats: FloatRows?
  private let packed: PackedRows?

  /// Reserves memory for the whole capacity; the system hands out its pages as tokens come.
  init(
    layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, form: Form, blockSize: Int, firstPosition: Int = 0
  ) {
    self.form = form
    self.capacity = capacity
    self.firstPosition = firstPosition
    switch form {
    case .floats(let element):
      floats = FloatRows(
        layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: capacity, element: element)
      packed = nil
    case .int8:
      floats = nil
      packed = PackedRows(
        layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: capacity, blockSize: blockSize)
    }
  }

  /// Bytes of the whole reservation.
  var byteCount: Int { floats?.byteCount ?? packed?.byteCount ?? 0 }

  /// Writes the keys and values of `tokens` new tokens of a layer behind the rows so far.
  /// - Parameters: rotatedKeys, values: (tokens, kv heads · head dim).
  func write(layer: Int, tokens: Int, rotatedKeys: FloatBuffer, values: FloatBuffer, _ compute: Compute) {
    precondition(count + tokens <= capacity, "the cache was made for fewer tokens")
    floats?.write(layer: layer, from: count, tokens: tokens, keys: rotatedKeys, values: values, compute)
    packed?.write(layer: layer, from: count, tokens: tokens, keys: rotatedKeys, values: values, compute)
  }

  /// The rows of a layer that `tokens` queries see, whose own rows were the last ones written and are not counted yet.
  func rows(layer: Int, tokens: Int) -> RunningTextRows {
    RunningTextRows(cache: self, layer: layer, tokens: tokens)
  }

  /// Counts the new tokens, after every layer has written theirs.
  func advance(_ tokens: Int) { count += tokens }

  /// The rows that some of the queries see, whose layer's latest `written` rows are not counted yet.
  fileprivate func spans(layer: Int, tokens: Range<Int>, written: Int) -> TextSpans {
    let positions = count + tokens.lowerBound..<count + tokens.upperBound
    if let packed { return packed.spans(layer: layer, positions, written: count..<count + written) }
    return TextSpans(earlier: nil, latest: floats?.span(layer: layer, positions))
  }

  /// Turns every key on by its position times the difference of two tables' frequencies: what the dynamic scaling asks
  /// for when the sequence has grown.
  func rerotate(from old: RotaryTable, to new: RotaryTable, _ compute: Compute) {
    guard let floats else { preconditionFailure("only float32 keys are turned without loss") }
    let difference = zip(old.frequencies, new.frequencies).map { $1 - $0 }
    for row in 0..<count {
      floats.turn(row: row, by: RotaryTable.angles(difference, position: firstPosition + row), compute)
    }
  }

  /// Writes some numbers into the next rows of all layers.
  func fill(rows: Int, _ compute: Compute) {
    precondition(count + rows <= capacity, "the cache was made for fewer tokens")
    floats?.fill()
    packed?.fill(compute)
  }
}

/// The rows of running text that some queries see.
struct RunningTextRows {
  fileprivate let cache: KeyValueCache
  fileprivate let layer: Int
  fileprivate let tokens: Int

  /// The place of the first query's own row.
  var firstPosition: Int { cache.count }

  /// Parts of the rows that the last query sees.
  var partCount: Int { (cache.count + tokens + Attention.partRows - 1) / Attention.partRows }

  /// The rows that a set of queries sees, which must not straddle a multiple of 64.
  func spans(for tokens: Range<Int>) -> TextSpans {
    cache.spans(layer: layer, tokens: tokens, written: self.tokens)
  }
}

/// Rows of running text in two forms, one after the other.
struct TextSpans {
  let earlier: RowSpan?
  let latest: RowSpan?
}

/// Rows in floats: (layer, kv head, capacity, head dim), keys and values apart.
@safe private final class FloatRows {
  private let layerCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  private let capacity: Int
  private let element: FloatElement
  @unsafe private let keys: UnsafeMutableRawPointer
  @unsafe private let values: UnsafeMutableRawPointer

  init(layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, element: FloatElement) {
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.capacity = capacity
    self.element = element
    let byteCount = max(layerCount * kvHeadCount * capacity * headDim * element.byteCount, 64)
    unsafe keys = .allocate(byteCount: byteCount, alignment: 64)
    unsafe values = .allocate(byteCount: byteCount, alignment: 64)
  }

  deinit {
    unsafe keys.deallocate()
    unsafe values.deallocate()
  }

  var byteCount: Int { 2 * layerCount * kvHeadCount * capacity * headDim * element.byteCount }

  private func byteOffset(layer: Int, head: Int, row: Int) -> Int {
    ((layer * kvHeadCount + head) * capacity + row) * headDim * element.byteCount
  }

  func write(
    layer: Int, from start: Int, tokens: Int, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    for head in 0..<kvHeadCount {
      for t in 0..<tokens {
        let offset = byteOffset(layer: layer, head: head, row: start + t)
        unsafe store(newKeys.row(t) + head * headDim, at: keys + offset, compute)
        unsafe store(newValues.row(t) + head * headDim, at: values + offset, compute)
      }
    }
  }

  @unsafe private func store(
    _ source: UnsafePointer<Float>, at target: UnsafeMutableRawPointer, _ compute: Compute
  ) {
    if element == .float16 {
      unsafe compute.kernels.pointee.narrow_to_float16(source, headDim, target.assumingMemoryBound(to: UInt16.self))
    } else {
      unsafe target.copyMemory(from: source, byteCount: headDim * MemoryLayout<Float>.size)
    }
  }

  func span(layer: Int, _ positions: Range<Int>) -> RowSpan {
    let offset = byteOffset(layer: layer, head: 0, row: 0)
    let stride = capacity * headDim * element.byteCount
    return unsafe RowSpan(
      keys: UnsafeRawPointer(keys + offset), values: UnsafeRawPointer(values + offset), keyHeadByteStride: stride,
      valueHeadByteStride: stride, rows: positions.upperBound, form: .floats(element), queryAngle: 0,
      causalRows: positions.lowerBound + 1)
  }

  /// - Parameter angles: cosines and sines: (2, head dim / 2).
  func turn(row: Int, by angles: [Float], _ compute: Compute) {
    precondition(element == .float32, "only float32 keys are turned without loss")
    unsafe angles.withUnsafeBufferPointer { angles in
      guard let cosines = angles.baseAddress else { return }
      for layer in 0..<layerCount {
        for head in 0..<kvHeadCount {
          let key = unsafe keys + byteOffset(layer: layer, head: head, row: row)
          unsafe compute.kernels.pointee.rotate(
            key.assumingMemoryBound(to: Float.self), 1, headDim, cosines, cosines + headDim / 2)
        }
      }
    }
  }

  func fill() {
    // 0x2C2C is 0.065 in float16; 0x2C2C2C2C is 2e-12 in float32.
    unsafe keys.initializeMemory(as: UInt8.self, repeating: 0x2C, count: byteCount / 2)
    unsafe values.initializeMemory(as: UInt8.self, repeating: 0x2C, count: byteCount / 2)
  }
}
