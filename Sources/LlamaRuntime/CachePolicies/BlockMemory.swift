internal import CKernels
internal import NodeBlocks
internal import PackedTiles

/// InfLLM's blocks: the rows of tokens that have left the window, in blocks of which a piece of the text chooses some.
/// See `CachePolicy.infLLM`.
final class BlockMemory {
  struct Shape: Equatable {
    /// The first tokens, which belong to no block.
    var initial: Int
    /// Tokens of a block.
    var block: Int
    var chosen: Int
    var representatives: Int
  }

  private struct Layer {
    /// Attention that the tokens behind the last block got while they were recent, of all heads and queries.
    var masses: [Float] = []
    /// The mean of the representatives' keys, not rotated: (blocks, kv heads · head dim), in the bytes of `element`.
    var keys: [UInt8] = []
    /// The blocks that the piece at hand attends to, ascending.
    var chosen: [Int] = []
    var blockCount = 0
  }

  let shape: Shape
  private let recent: Int
  private let kvHeadCount: Int
  private let headDim: Int
  /// Of what blocks are found by.
  private let element: ElementType
  private var layers: [Layer]
  /// The sum of a piece's queries of each kv head: (kv heads · head dim).
  private var query: [Float]
  /// Of the blocks of a layer.
  private var scores = FloatBuffer(rows: 1, columns: 0)

  /// - Parameter element: in what floats blocks are found by: all of a text are read for every token.
  init(_ shape: Shape, recent: Int, layerCount: Int, kvHeadCount: Int, headDim: Int, element: ElementType) {
    precondition(
      shape.initial >= 0 && shape.block > 0 && shape.chosen > 0 && (1...shape.block).contains(shape.representatives))
    self.shape = shape
    self.recent = recent
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.element = element
    layers = [Layer](repeating: Layer(), count: layerCount)
    query = [Float](repeating: 0, count: kvHeadCount * headDim)
  }

  /// The tokens of a block.
  func tokens(ofBlock block: Int) -> Range<Int> {
    shape.initial + block * shape.block..<shape.initial + (block + 1) * shape.block
  }

  /// Tokens before those that are in no block yet.
  func blockedCount(layer: Int) -> Int { shape.initial + layers[layer].blockCount * shape.block }

  func blockCount(layer: Int) -> Int { layers[layer].blockCount }

  /// The blocks that the piece at hand attends to, ascending.
  func chosen(layer: Int) -> [Int] { layers[layer].chosen }

  /// Begins a piece of a layer: tokens that have left the window of its first token become blocks, and its queries choose
  /// among all.
  /// - Parameters:
  ///   - start: tokens before the piece.
  ///   - queries: (rows, heads · head dim), not rotated.
  ///   - rows: of the piece in the queries.
  ///   - takeBlock: takes in the next block, and gives the keys of its tokens, not rotated: (tokens, kv heads · head dim).
  func begin(
    layer: Int, at start: Int, queries: FloatBuffer, rows: Range<Int>,
    _ compute: Compute, takeBlock: (_ block: Int) -> FloatBuffer
  ) {
    while tokens(ofBlock: layers[layer].blockCount).upperBound <= start + 1 - recent {
      append(takeBlock(layers[layer].blockCount), layer: layer)
    }
    choose(layer: layer, queries, rows, compute)
  }

  private func append(_ keys: FloatBuffer, layer: Int) {
    let masses = layers[layer].masses
    let best = (0..<shape.block).sorted { masses[$0] > masses[$1] || masses[$0] == masses[$1] && $0 < $1 }
    var mean = [Float](repeating: 0, count: kvHeadCount * headDim)
    for representative in best.prefix(shape.representatives) {
      let key = unsafe keys.row(representative)
      for i in mean.indices { mean[i] += unsafe key[i] / Float(shape.representatives) }
    }
    let start = layers[layer].keys.count
    layers[layer].keys.append(contentsOf: repeatElement(0, count: mean.count * element.byteCount))
    unsafe layers[layer].keys.withUnsafeMutableBytes { keys in
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: keys[start...])
      unsafe mean.withUnsafeBufferPointer { mean in
        if element == .float16 {
          unsafe PackedTiles.narrowToFloat16(mean, into: target)
        } else {
          unsafe target.copyMemory(from: UnsafeRawBufferPointer(mean))
        }
      }
    }
    layers[layer].masses.removeFirst(shape.block)
    layers[layer].blockCount += 1
  }

  private func choose(layer: Int, _ queries: FloatBuffer, _ rows: Range<Int>, _ compute: Compute) {
    layers[layer].chosen.removeAll(keepingCapacity: true)
    let count = layers[layer].blockCount
    guard count > shape.chosen else {
      layers[layer].chosen.append(contentsOf: 0..<count)
      return
    }
    for i in query.indices { query[i] = 0 }
    let group = queries.columns / query.count
    for row in rows {
      for kvHead in 0..<kvHeadCount {
        for head in kvHead * group..<(kvHead + 1) * group {
          let source = unsafe queries.row(row) + head * headDim
          for d in 0..<headDim { unsafe query[kvHead * headDim + d] += source[d] }
        }
      }
    }
    if scores.columns < count { scores = FloatBuffer(rows: 1, columns: 2 * count) }
    let target = unsafe scores.base
    unsafe layers[layer].keys.withUnsafeBytes { keys in
      unsafe query.withUnsafeBufferPointer { query in
        guard let keys = keys.baseAddress, let query = query.baseAddress else { return }
        let matrix = unsafe sp_matrix(
          values: keys, element: element.kernelElement, rows: count, columns: self.query.count, group_size: 0,
          row_block_bytes: 0)
        let output = unsafe sp_output(values: target, stride: count, accumulate: false)
        // The kernels take 16 rows at a time.
        unsafe compute.threads.run(
          count: (count + 15) / 16, minimum: Compute.minimumShare(cost: 16 * self.query.count),
          with: (compute.kernels, matrix, query, output)
        ) { work, _, range in
          let (kernels, matrix, query, output) = unsafe work
          unsafe kernels.pointee.product_floats(matrix, range.lowerBound, range.upperBound, query, 1, output)
        }
      }
    }
    let scores = unsafe UnsafeBufferPointer(start: scores.base, count: count)
    // Best first; of equal ones the first.
    var best: [Int] = []
    for block in 0..<count {
      let score = unsafe scores[block]
      var place = best.count
      while place > 0, unsafe scores[best[place - 1]] < score { place -= 1 }
      if place < shape.chosen { best.insert(block, at: place) }
      if best.count > shape.chosen { best.removeLast() }
    }
    layers[layer].chosen.append(contentsOf: best.sorted())
  }

  /// Adds what the queries of a piece gave the rows of the window.
  /// - Parameters:
  ///   - weights: (kv heads, rows).
  ///   - rows: how many there are, with the piece's own.
  ///   - first: the token of the first row.
  func add(_ weights: FloatBuffer, rows: Int, from first: Int, layer: Int) {
    let start = blockedCount(layer: layer)
    let known = layers[layer].masses.count
    let end = first + rows
    if end > start + known {
      layers[layer].masses.append(contentsOf: repeatElement(0, count: end - start - known))
    }
    let tokens = max(first, start)..<max(end, start)
    unsafe layers[layer].masses.withUnsafeMutableBufferPointer { masses in
      for head in 0..<kvHeadCount {
        let source = unsafe weights.row(head)
        for token in tokens { unsafe masses[token - start] += source[token - first] }
      }
    }
  }
}
