internal import CKernels
internal import PackedTiles

/// The keys and values of the tokens so far: (layer, kv head, capacity, head dim), row-major.
///
/// Keys are rotated by the position of their token. Memory for the whole capacity is reserved at once; the system
/// hands out its pages as tokens come.
@safe final class KeyValueCache {
  let layerCount: Int
  let kvHeadCount: Int
  let headDim: Int
  let capacity: Int
  let element: FloatElement
  /// Rows that are filled in every layer.
  private(set) var count = 0
  /// The position of the first row.
  let firstPosition: Int
  @unsafe private let keys: UnsafeMutableRawPointer
  @unsafe private let values: UnsafeMutableRawPointer

  init(
    layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, element: FloatElement, firstPosition: Int = 0
  ) {
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.capacity = capacity
    self.element = element
    self.firstPosition = firstPosition
    let byteCount = max(layerCount * kvHeadCount * capacity * headDim * element.byteCount, 64)
    unsafe keys = .allocate(byteCount: byteCount, alignment: 64)
    unsafe values = .allocate(byteCount: byteCount, alignment: 64)
  }

  deinit {
    unsafe keys.deallocate()
    unsafe values.deallocate()
  }

  /// Bytes of the whole reservation.
  var byteCount: Int { 2 * layerCount * kvHeadCount * capacity * headDim * element.byteCount }

  /// Bytes between the heads of a layer.
  var headByteStride: Int { capacity * headDim * element.byteCount }

  private func byteOffset(layer: Int, head: Int, row: Int) -> Int {
    ((layer * kvHeadCount + head) * capacity + row) * headDim * element.byteCount
  }

  /// The keys of a layer's first head.
  @unsafe func keyBase(layer: Int) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(keys + byteOffset(layer: layer, head: 0, row: 0))
  }

  /// The values of a layer's first head.
  @unsafe func valueBase(layer: Int) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(values + byteOffset(layer: layer, head: 0, row: 0))
  }

  /// Writes the keys and values of `tokens` new tokens of a layer behind the rows so far.
  /// - Parameters: rotatedKeys, newValues: (tokens, kv heads · head dim).
  func write(layer: Int, tokens: Int, rotatedKeys: FloatBuffer, values newValues: FloatBuffer, _ compute: Compute) {
    precondition(count + tokens <= capacity, "the cache was made for fewer tokens")
    for head in 0..<kvHeadCount {
      for t in 0..<tokens {
        let offset = byteOffset(layer: layer, head: head, row: count + t)
        unsafe store(rotatedKeys.row(t) + head * headDim, at: keys + offset, compute)
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

  /// Writes some numbers into the next rows of all layers.
  func fill(rows: Int) {
    precondition(count + rows <= capacity, "the cache was made for fewer tokens")
    for head in 0..<layerCount * kvHeadCount {
      let offset = byteOffset(layer: 0, head: head, row: count)
      // 0x2C2C is 0.065 in float16; 0x2C2C2C2C is 2e-12 in float32.
      unsafe (keys + offset).initializeMemory(
        as: UInt8.self, repeating: 0x2C, count: rows * headDim * element.byteCount)
      unsafe (values + offset).initializeMemory(
        as: UInt8.self, repeating: 0x2C, count: rows * headDim * element.byteCount)
    }
  }

  /// Counts the new tokens, after every layer has written theirs.
  func advance(_ tokens: Int) { count += tokens }

  /// Forgets the rows from `newCount` on.
  func truncate(to newCount: Int) {
    precondition((0...count).contains(newCount))
    count = newCount
  }

  /// Turns every key on by its position times the difference of two tables' frequencies: what the dynamic scaling asks
  /// for when the sequence has grown.
  func rerotate(from old: RotaryTable, to new: RotaryTable, _ compute: Compute) {
    precondition(element == .float32, "only float32 keys are turned without loss")
    let difference = zip(old.frequencies, new.frequencies).map { $1 - $0 }
    for row in 0..<count {
      let angles = RotaryTable.angles(difference, position: firstPosition + row)
      let half = headDim / 2
      unsafe angles.withUnsafeBufferPointer { angles in
        guard let cosines = angles.baseAddress else { return }
        for layer in 0..<layerCount {
          for head in 0..<kvHeadCount {
            let key = unsafe keys + byteOffset(layer: layer, head: head, row: row)
            unsafe compute.kernels.pointee.rotate(
              key.assumingMemoryBound(to: Float.self), 1, headDim, cosines, cosines + half)
          }
        }
      }
    }
  }
}
