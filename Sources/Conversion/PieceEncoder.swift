import FileAccess
import ModelPacks
import PackedTiles

/// Turns pieces of source files into the bytes of a pack, in buffers that it keeps.
struct PieceEncoder {
  private let tensors: [PackTensor]
  private var floats: [Float]
  private var output: [UInt8]
  private var outputByteCount = 0
  private let feedback: ((String) -> ErrorFeedback?)?
  /// Of the latest tensor, which may come in many pieces.
  private var lastFeedback: (tensor: Int, feedback: ErrorFeedback?)?

  /// - Parameter feedback: of a tensor by name, for those that are quantized.
  init(_ files: [SourceFile], tensors: [PackTensor], feedback: ((String) -> ErrorFeedback?)? = nil) {
    self.tensors = tensors
    self.feedback = feedback
    let sizes = Self.sizes(files, tensors: tensors)
    floats = [Float](repeating: 0, count: sizes.floats)
    output = [UInt8](repeating: 0, count: sizes.output)
  }

  static func memoryByteCount(_ files: [SourceFile], tensors: [PackTensor]) -> Int {
    let sizes = sizes(files, tensors: tensors)
    return sizes.floats * MemoryLayout<Float>.size + sizes.output
  }

  private static func sizes(_ files: [SourceFile], tensors: [PackTensor]) -> (floats: Int, output: Int) {
    var sizes = (floats: 0, output: 0)
    for part in files.flatMap(\.pieces).compactMap(\.part) {
      sizes.floats = max(sizes.floats, PackedTileLayout.tileRows * part.columns)
      sizes.output = max(sizes.output, byteCount(of: part, encoding: tensors[part.tensor].encoding))
    }
    return sizes
  }

  private static func byteCount(of part: SourceFile.Part, encoding: TensorEncoding) -> Int {
    guard let count = encoding.byteCount(rows: part.rows, columns: part.columns) else {
      preconditionFailure("a part of a tensor is smaller than the tensor")
    }
    return count
  }

  /// Converts a piece, one row block after the other.
  /// - Parameter buffer: starts with the bytes of the piece.
  /// - Throws: `Refusal` `non-finite-weight` or `weight-out-of-range`.
  mutating func encode(_ buffer: [UInt8], of piece: SourceFile.Piece, file: SourceFile) throws(Refusal) {
    guard let part = piece.part else { return }
    let tensor = tensors[part.tensor]
    outputByteCount = Self.byteCount(of: part, encoding: tensor.encoding)
    let feedback = feedback(of: part.tensor)
    var failure: Refusal.Name?
    unsafe buffer.withUnsafeBytes { source in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe floats.withUnsafeMutableBufferPointer { floats in
          unsafe failure = Self.encode(
            source, part: part, encoding: tensor.encoding, feedback: feedback, floats: floats, output: output)
        }
      }
    }
    if let failure {
      throw Refusal(
        failure, file: file.path, structure: tensor.name,
        failure == .nonFiniteWeight ? "has a value that is infinite or not a number" : "has a value beyond float16")
    }
  }

  private mutating func feedback(of tensor: Int) -> ErrorFeedback? {
    guard let feedback, tensors[tensor].encoding.groupSize > 0 else { return nil }
    if let lastFeedback, lastFeedback.tensor == tensor { return lastFeedback.feedback }
    let found = feedback(tensors[tensor].name)
    lastFeedback = (tensor, found)
    return found
  }

  private static func encode(
    _ source: UnsafeRawBufferPointer, part: SourceFile.Part, encoding: TensorEncoding, feedback: ErrorFeedback?,
    floats: UnsafeMutableBufferPointer<Float>, output: UnsafeMutableRawBufferPointer
  ) -> Refusal.Name? {
    let blockRows = PackedTileLayout.tileRows
    var outputOffset = 0
    for row in stride(from: 0, to: part.rows, by: blockRows) {
      let rows = min(blockRows, part.rows - row)
      let count = rows * part.columns
      let block = unsafe UnsafeMutableBufferPointer(rebasing: floats[..<count])
      unsafe decode(source, row..<row + rows, of: part, into: block)
      let values = UnsafeBufferPointer(block)
      func target(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        let start = outputOffset
        outputOffset += byteCount
        return unsafe UnsafeMutableRawBufferPointer(rebasing: output[start..<outputOffset])
      }
      switch encoding {
      case .int8, .int4:
        guard let layout = encoding.packedTiles(rows: rows, columns: part.columns) else {
          preconditionFailure("the plan has been checked")
        }
        let tiles = unsafe target(layout.rowBlockByteCount)
        guard unsafe PackedTiles.quantize(values, layout: layout, feedback: feedback, into: tiles) else {
          return .nonFiniteWeight
        }
      case .float32:
        guard unsafe PackedTiles.allFinite(values) else { return .nonFiniteWeight }
        unsafe target(count * 4).copyMemory(from: UnsafeRawBufferPointer(values))
      case .float16:
        guard unsafe PackedTiles.allFinite(values) else { return .nonFiniteWeight }
        let halves = unsafe target(count * 2)
        unsafe PackedTiles.narrowToFloat16(values, into: halves)
        // A value that narrowing made infinite is too large for float16.
        unsafe PackedTiles.widen(UnsafeRawBufferPointer(halves), from: .float16, into: block)
        guard unsafe PackedTiles.allFinite(values) else { return .weightOutOfRange }
      }
    }
    return nil
  }

  /// Numbers of some rows, at the places that the pack has them.
  private static func decode(
    _ source: UnsafeRawBufferPointer, _ rows: Range<Int>, of part: SourceFile.Part,
    into target: UnsafeMutableBufferPointer<Float>
  ) {
    func decode(_ sourceRow: Int, count: Int, into target: UnsafeMutableBufferPointer<Float>) {
      let range = sourceRow * part.rowByteCount..<(sourceRow + count) * part.rowByteCount
      let bytes = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: source[range]))
      var numbers = unsafe MutableSpan(_unsafeElements: target)
      part.blocks.decode(bytes, &numbers)
    }
    guard part.rowOrder != .plain else {
      unsafe decode(rows.lowerBound, count: rows.count, into: target)
      return
    }
    for (place, row) in rows.enumerated() {
      let place = place * part.columns
      unsafe decode(
        part.rowOrder.sourceRow(row), count: 1,
        into: UnsafeMutableBufferPointer(rebasing: target[place..<place + part.columns]))
    }
  }

  /// Writes the piece that was encoded last.
  func write(_ part: SourceFile.Part, to writer: inout ModelPackWriter) throws(Refusal) {
    try unsafe writer.append(output.span.bytes.extracting(0..<outputByteCount), toTensor: part.tensor)
  }
}
