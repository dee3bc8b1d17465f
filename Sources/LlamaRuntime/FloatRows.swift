internal import CKernels
internal import FileAccess
internal import NodeBlocks
internal import PackedTiles

/// Rows that stand one by one, in floats or in int8 with one scale a row: (layer, kv head, capacity, head dim), keys and
/// values apart.
@safe final class FloatRows {
  private let layerCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  private let capacity: Int
  private let element: ElementType
  private let keyMemory: AlignedMemory
  private let valueMemory: AlignedMemory
  let byteCount: Int
  /// Of int8: (layer · kv head, capacity).
  private let keyScales: FloatBuffer?
  private let valueScales: FloatBuffer?
  @unsafe private let keys: UnsafeMutableRawPointer
  @unsafe private let values: UnsafeMutableRawPointer

  init(layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, element: ElementType) {
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.capacity = capacity
    self.element = element
    let half = layerCount * kvHeadCount * capacity * headDim * element.byteCount
    if element == .int8 {
      keyScales = FloatBuffer(rows: layerCount * kvHeadCount, columns: capacity)
      valueScales = FloatBuffer(rows: layerCount * kvHeadCount, columns: capacity)
    } else {
      (keyScales, valueScales) = (nil, nil)
    }
    byteCount = 2 * half + (element == .int8 ? 2 * 4 * layerCount * kvHeadCount * capacity : 0)
    (keyMemory, valueMemory) = (AlignedMemory(byteCount: half), AlignedMemory(byteCount: half))
    unsafe keys = keyMemory.base
    unsafe values = valueMemory.base
  }

  /// Rows of the same form, of one layer.
  func ofOneLayer(capacity: Int) -> FloatRows {
    FloatRows(layerCount: 1, kvHeadCount: kvHeadCount, headDim: headDim, capacity: capacity, element: element)
  }

  private func byteOffset(layer: Int, head: Int, row: Int) -> Int {
    ((layer * kvHeadCount + head) * capacity + row) * headDim * element.byteCount
  }

  /// - Parameter rows: of the buffers.
  func write(
    layer: Int, head: Int, at start: Int, _ rows: Range<Int>, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    for (t, row) in rows.enumerated() {
      let offset = byteOffset(layer: layer, head: head, row: start + t)
      let (list, place) = (layer * kvHeadCount + head, start + t)
      unsafe store(
        newKeys.row(row) + head * headDim, at: keys + offset, keyScales.map { unsafe $0.row(list) + place }, compute)
      unsafe store(
        newValues.row(row) + head * headDim, at: values + offset, valueScales.map { unsafe $0.row(list) + place },
        compute)
    }
  }

  /// Values that are not finite count as 0 in int8: a model that overflows gives no useful answer in any case.
  @unsafe private func store(
    _ source: UnsafePointer<Float>, at target: UnsafeMutableRawPointer, _ scale: UnsafeMutablePointer<Float>?,
    _ compute: Compute
  ) {
    if let scale = unsafe scale {
      var largest: Float = 0
      for i in 0..<headDim where unsafe source[i].isFinite { unsafe largest = max(largest, abs(source[i])) }
      unsafe scale.pointee = largest / 127
      let inverse = largest > 0 ? 127 / largest : 0
      let bytes = unsafe target.assumingMemoryBound(to: Int8.self)
      for i in 0..<headDim {
        unsafe bytes[i] = source[i].isFinite ? Int8((source[i] * inverse).rounded(.toNearestOrEven)) : 0
      }
    } else if element == .float16 {
      unsafe compute.kernels.pointee.narrow_to_float16(source, headDim, target.assumingMemoryBound(to: UInt16.self))
    } else {
      unsafe target.copyMemory(from: source, byteCount: headDim * MemoryLayout<Float>.size)
    }
  }

  /// - Parameters:
  ///   - queries: their own rows.
  ///   - first: the first row that the first query sees; each later query starts one row later. Nil: every query sees
  ///     all.
  ///   - textOffset: tokens of the text before row 0's.
  func spans(layer: Int, _ queries: Range<Int>, first: Int?, sinks: Int, textOffset: Int) -> TextSpans {
    let seen = queries.lowerBound + 1
    // Whole blocks: where they end must not depend on how many queries come together.
    let start = max(first ?? 0, 0) / PackedRows.rowsTogether * PackedRows.rowsTogether
    return TextSpans(
      sinks: sinks > 0 ? span(layer: layer, rows: 0..<sinks, queryAngle: .slot, visibility: .all) : nil,
      latest: span(
        layer: layer, rows: start..<queries.upperBound, textOffset: textOffset, queryAngle: .position,
        visibility: first.map { .moving($0..<seen) } ?? .causal(before: seen)))
  }

  func span(
    layer: Int, rows: Range<Int>, textOffset: Int = 0, queryAngle: RowSpan.QueryAngle, visibility: RowSpan.Visibility
  ) -> RowSpan {
    let offset = byteOffset(layer: layer, head: 0, row: rows.lowerBound)
    let stride = capacity * headDim * element.byteCount
    let list = layer * kvHeadCount
    let scales = unsafe keyScales.flatMap { keyScales in
      unsafe valueScales.map {
        unsafe (
          UnsafePointer(keyScales.row(list) + rows.lowerBound), UnsafePointer($0.row(list) + rows.lowerBound), capacity
        )
      }
    }
    return unsafe RowSpan(
      keys: UnsafeRawPointer(keys + offset), values: UnsafeRawPointer(values + offset), scales: scales,
      keyHeadByteStride: stride, valueHeadByteStride: stride, rows: rows, textOffset: textOffset,
      form: .floats(element), queryAngle: queryAngle,
      visibility: visibility)
  }

  /// Copies rows of a head, which are floats.
  func copy(layer: Int, head: Int, _ rows: Range<Int>, to writer: TextRowWriter) {
    let from = byteOffset(layer: layer, head: head, row: rows.lowerBound)
    let byteCount = rows.count * headDim * element.byteCount
    let target = unsafe writer.head(head, layer: layer)
    unsafe target.copyMemory(from: keys + from, byteCount: byteCount)
    unsafe (target + writer.layout.floatByteCount(rows: rows.count)).copyMemory(
      from: values + from, byteCount: byteCount)
  }

  /// Moves rows of a head down.
  func move(layer: Int, head: Int, rows: Range<Int>, to target: Int) {
    guard rows.lowerBound != target else { return }
    let byteCount = rows.count * headDim * element.byteCount
    let from = byteOffset(layer: layer, head: head, row: rows.lowerBound)
    let to = byteOffset(layer: layer, head: head, row: target)
    unsafe (keys + to).copyMemory(from: keys + from, byteCount: byteCount)
    unsafe (values + to).copyMemory(from: values + from, byteCount: byteCount)
    if let keyScales, let valueScales {
      let list = layer * kvHeadCount + head
      unsafe (keyScales.row(list) + target).update(from: keyScales.row(list) + rows.lowerBound, count: rows.count)
      unsafe (valueScales.row(list) + target).update(from: valueScales.row(list) + rows.lowerBound, count: rows.count)
    }
  }

  /// Copies the first rows of a head of another object.
  func copy(layer: Int, head: Int, rows: Int, of other: FloatRows, layer otherLayer: Int) {
    precondition(rows <= capacity && rows <= other.capacity && element == other.element, "rows of one form")
    let from = other.byteOffset(layer: otherLayer, head: head, row: 0)
    let to = byteOffset(layer: layer, head: head, row: 0)
    let byteCount = rows * headDim * element.byteCount
    unsafe (keys + to).copyMemory(from: other.keys + from, byteCount: byteCount)
    unsafe (values + to).copyMemory(from: other.values + from, byteCount: byteCount)
    for (scales, others) in [(keyScales, other.keyScales), (valueScales, other.valueScales)] {
      guard let scales, let others else { continue }
      unsafe scales.row(layer * kvHeadCount + head).update(
        from: others.row(otherLayer * kvHeadCount + head), count: rows)
    }
  }

  /// Reads rows of a layer, which are floats, into the first rows of buffers: (rows, kv heads · head dim).
  func read(layer: Int, _ rows: Range<Int>, keys keyTarget: FloatBuffer, values valueTarget: FloatBuffer) {
    precondition(element != .int8, "rows of floats")
    for head in 0..<kvHeadCount {
      for (number, row) in rows.enumerated() {
        let offset = byteOffset(layer: layer, head: head, row: row)
        unsafe widen(keys + offset, into: keyTarget.row(number) + head * headDim)
        unsafe widen(values + offset, into: valueTarget.row(number) + head * headDim)
      }
    }
  }

  @unsafe private func widen(_ source: UnsafeRawPointer, into target: UnsafeMutablePointer<Float>) {
    unsafe PackedTiles.widen(
      UnsafeRawBufferPointer(start: source, count: headDim * element.byteCount), from: element,
      into: UnsafeMutableBufferPointer(start: target, count: headDim))
  }

  /// - Parameter angles: cosines and sines: (2, head dim / 2).
  func turn(layer: Int, head: Int, row: Int, by angles: [Float], _ compute: Compute) {
    precondition(element == .float32, "only float32 keys are turned without loss")
    unsafe angles.withUnsafeBufferPointer { angles in
      guard let cosines = angles.baseAddress else { return }
      let key = unsafe keys + byteOffset(layer: layer, head: head, row: row)
      unsafe compute.kernels.pointee.rotate(
        key.assumingMemoryBound(to: Float.self), 1, headDim, cosines, cosines + headDim / 2)
    }
  }

  func fill() {
    // 0x2C2C is 0.065 in float16; 0x2C2C2C2C is 2e-12 in float32.
    unsafe keys.initializeMemory(as: UInt8.self, repeating: 0x2C, count: byteCount / 2)
    unsafe values.initializeMemory(as: UInt8.self, repeating: 0x2C, count: byteCount / 2)
  }
}
